import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';

import { colourOf } from '../../../server/src/maskery/playground/mask/colours.js';
import { smooth, trace } from '../../../server/src/maskery/playground/mask/contour.js';
import { decodePng } from '../../../server/src/maskery/playground/mask/png.js';
import { runEnds, sampled } from '../../../server/src/maskery/playground/mask/rle.js';

/** A mask from rows of digits. */
function mask(...rows) {
  const values = Uint8Array.from(rows.join(''), Number);
  return { width: rows[0].length, height: rows.length, values };
}

const whole = ({ width, height }) => [0, 0, width, height];

/** Twice the area that a closed line encloses, positive if clockwise. */
function doubleArea(line) {
  let sum = 0;
  for (let at = 0; at < line.length; at += 2) {
    const [x, y, nextX, nextY] = [0, 1, 2, 3].map((step) => line[(at + step) % line.length]);
    sum += x * nextY - nextX * y;
  }
  return sum;
}

test('a rectangle has four corners', () => {
  const found = mask('0000', '0110', '0110', '0000');
  assert.deepEqual(trace(found, 1, whole(found)), [[3, 1, 3, 3, 1, 3, 1, 1]]);
});

test('lines around holes are counterclockwise, so that the areas add up to the number of pixels', () => {
  const found = mask('11111', '10001', '10101', '10001', '11111');
  const lines = trace(found, 1, whole(found));
  assert.equal(lines.length, 3);
  assert.equal(lines.reduce((sum, line) => sum + doubleArea(line), 0) / 2, 17);
});

test('in random masks the enclosed area is the number of pixels with the value', () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 200; round += 1) {
    const [width, height] = [1 + Math.floor(random() * 12), 1 + Math.floor(random() * 12)];
    const values = Uint8Array.from({ length: width * height }, () => Math.floor(random() * 3));
    const found = { width, height, values };
    const seen = new Uint8Array(values.length);
    for (const value of [1, 2]) {
      const lines = trace(found, value, whole(found), seen);
      const area = lines.reduce((sum, line) => sum + doubleArea(line), 0) / 2;
      assert.equal(area, values.filter((each) => each === value).length);
    }
  }
});

test('steps of a slanted edge become a straight line, corners between long edges are kept', () => {
  const stairs = smooth([0, 0, 2, 0, 2, 1, 4, 1, 4, 2, 6, 2, 6, 3, 0, 3]);
  assert.deepEqual(stairs.slice(0, 10), [1, 0, 2, 0.5, 3, 1, 4, 1.5, 5, 2]);
  const square = smooth([0, 0, 100, 0, 100, 100, 0, 100]);
  assert.deepEqual(square.slice(0, 4), [0.5, 0, 99.5, 0]);
});

/** A PNG with one channel; each row starts with its filter. */
function png(width, height, depth, filtered) {
  const chunk = (kind, data) => {
    const out = Buffer.alloc(12 + data.length);
    out.writeUInt32BE(data.length);
    out.write(kind, 4, 'latin1');
    data.copy(out, 8);
    return out;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, 0, 0, 0, 0], 8);
  const data = deflateSync(Buffer.from(filtered));
  const parts = [
    Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk('IHDR', header),
    chunk('IDAT', data.subarray(0, 5)),
    chunk('IDAT', data.subarray(5)),
    chunk('IEND', Buffer.alloc(0)),
  ];
  return new Uint8Array(Buffer.concat(parts));
}

test('all PNG filters are decoded', async () => {
  const rows = [0, 1, 2, 3, 1, 1, 1, 1, 2, 1, 0, 255, 3, 1, 1, 1, 4, 1, 2, 3];
  const { values, width, height } = await decodePng(png(3, 5, 8, rows));
  assert.deepEqual([width, height], [3, 5]);
  assert.deepEqual([...values], [1, 2, 3, 1, 2, 3, 2, 2, 2, 2, 3, 3, 3, 5, 8]);
});

test('16-bit values are decoded', async () => {
  const { values } = await decodePng(png(2, 2, 16, [0, 1, 0, 0, 7, 2, 0, 1, 1, 0]));
  assert.deepEqual([...values], [256, 7, 257, 263]);
});

test('bytes that are not a PNG are refused', async () => {
  await assert.rejects(decodePng(new Uint8Array(40)), /not a PNG/);
});

test('run lengths of pycocotools are decoded', () => {
  // pycocotools: encode([[0, 1, 1], [0, 1, 0]]).
  assert.deepEqual(runEnds('231'), [2, 5, 6]);
  assert.deepEqual([...sampled({ size: [2, 3], counts: '231' }, 3, 2)], [0, 1, 1, 0, 1, 0]);
});

test('colours are those of the Python SDK', () => {
  assert.deepEqual([1, 2, 3, 9].map(colourOf), [[38, 164, 255], [227, 255, 38], [220, 38, 255], [76, 205, 217]]);
});
