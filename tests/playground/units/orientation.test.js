import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readExif } from '../../../server/src/maskery/playground/image/orientation.js';

const ORIENTATION = 0x0112;

/** A TIFF structure whose first directory has entries of tag, type, count and value. */
function tiff(littleEndian, ...entries) {
  const bytes = Buffer.alloc(14 + 12 * entries.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  bytes.write(littleEndian ? 'II' : 'MM', 'latin1');
  view.setUint16(2, 42, littleEndian);
  view.setUint32(4, 8, littleEndian);
  view.setUint16(8, entries.length, littleEndian);
  entries.forEach(([tag, type, count, value], index) => {
    const at = 10 + 12 * index;
    view.setUint16(at, tag, littleEndian);
    view.setUint16(at + 2, type, littleEndian);
    view.setUint32(at + 4, count, littleEndian);
    view.setUint16(at + 8, value, littleEndian);
  });
  return bytes;
}

const oriented = (value) => tiff(true, [0x010f, 2, 4, 0], [ORIENTATION, 3, 1, value]);
const prefixed = (exif) => Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exif]);

function segment(marker, data) {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(data.length + 2, 2);
  return Buffer.concat([head, data]);
}

function jpeg(...blocks) {
  const segments = blocks.map((block) => segment(0xe1, block));
  const scan = segment(0xda, Buffer.alloc(10));
  return Buffer.concat([Buffer.from([0xff, 0xd8]), segment(0xe0, Buffer.alloc(14)), ...segments, scan, Buffer.alloc(50)]);
}

function png(...chunks) {
  const parts = chunks.map(([type, data]) => {
    const chunk = Buffer.alloc(12 + data.length);
    chunk.writeUInt32BE(data.length);
    chunk.write(type, 4, 'latin1');
    data.copy(chunk, 8);
    return chunk;
  });
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), ...parts]);
}

function webp(...chunks) {
  const parts = chunks.map(([type, data]) => {
    const chunk = Buffer.alloc(8 + data.length + (data.length % 2));
    chunk.write(type, 'latin1');
    chunk.writeUInt32LE(data.length, 4);
    data.copy(chunk, 8);
    return chunk;
  });
  const body = Buffer.concat([Buffer.from('WEBP', 'latin1'), ...parts]);
  const head = Buffer.from('RIFF\0\0\0\0', 'latin1');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body]);
}

const read = (file) => readExif(new DataView(file.buffer, file.byteOffset, file.length));

test('the EXIF orientation of JPEG, PNG and WebP files is read', () => {
  const pixels = Buffer.alloc(7);
  assert.deepEqual(read(jpeg(prefixed(oriented(6)))), { format: 'jpeg', orientation: 6 });
  assert.deepEqual(read(jpeg(Buffer.from('http://ns.adobe.com/xap/1.0/\0'), prefixed(oriented(3)))), { format: 'jpeg', orientation: 3 });
  assert.deepEqual(read(png(['IHDR', Buffer.alloc(13)], ['eXIf', oriented(8)], ['IDAT', pixels])), { format: 'png', orientation: 8 });
  assert.deepEqual(read(webp(['VP8X', Buffer.alloc(10)], ['VP8 ', pixels], ['EXIF', oriented(5)])), { format: 'webp', orientation: 5 });
  assert.deepEqual(read(webp(['VP8 ', pixels], ['EXIF', prefixed(oriented(5))])), { format: 'webp', orientation: 5 });
  assert.equal(read(jpeg(prefixed(tiff(false, [ORIENTATION, 3, 1, 7])))).orientation, 7);
});

test('files without EXIF data and other formats have none', () => {
  assert.equal(read(jpeg()), null);
  assert.equal(read(png(['IHDR', Buffer.alloc(13)], ['IDAT', Buffer.alloc(7)])), null);
  assert.equal(read(webp(['VP8 ', Buffer.alloc(7)])), null);
  assert.equal(read(Buffer.from('GIF89a and more than twelve bytes')), null);
  assert.equal(read(Buffer.from('GIF')), null);
});

test('EXIF data without an orientation is upright', () => {
  assert.equal(read(jpeg(prefixed(tiff(true, [0x010f, 2, 4, 0])))).orientation, 1);
});

test('EXIF data that programs read differently is malformed', () => {
  const malformed = [
    jpeg(prefixed(oriented(3)), prefixed(oriented(3))),
    jpeg(Buffer.concat([Buffer.from('Exif\0\xff', 'latin1'), oriented(3)])),
    jpeg(prefixed(oriented(9))),
    jpeg(prefixed(tiff(true, [ORIENTATION, 4, 1, 3]))),
    jpeg(prefixed(tiff(true, [ORIENTATION, 3, 2, 3]))),
    jpeg(prefixed(tiff(true, [ORIENTATION, 3, 1, 3], [ORIENTATION, 3, 1, 6]))),
    jpeg(prefixed(oriented(3).subarray(0, 30))),
    jpeg(prefixed(Buffer.from('nonsense'))),
    png(['IHDR', Buffer.alloc(13)], ['IDAT', Buffer.alloc(7)], ['eXIf', oriented(3)]),
    webp(['VP8 ', Buffer.alloc(7)], ['EXIF', oriented(3)]).subarray(0, 45),
  ];
  for (const [index, file] of malformed.entries()) assert.equal(read(file)?.orientation, null, `file ${index}`);
  for (const file of malformed) assert.ok(read(file));
});
