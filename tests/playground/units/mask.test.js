import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';

import { colourOf } from '../../../server/src/maskery/playground/mask/colours.js';
import { smooth, trace } from '../../../server/src/maskery/playground/mask/contour.js';
import { decodePng, encodePng } from '../../../server/src/maskery/playground/mask/png.js';
import { fillRings, simplifyRings, toPolygons } from '../../../server/src/maskery/playground/mask/polygons.js';
import { compress, encodeRle, runEnds, sampled } from '../../../server/src/maskery/playground/mask/rle.js';
import { measure, withFixedMasks } from '../../../server/src/maskery/playground/mask/segmentation.js';
import { readCoco } from '../../../server/src/maskery/playground/project/coco-file.js';

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

/** A mask of random discs with values 1 to 3, which overlap, touch the border and have holes. */
function randomMask(random, width = 60, height = 45) {
  const values = new Uint8Array(width * height);
  for (let disc = 0; disc < 12; disc += 1) {
    const [x0, y0, radius] = [random() * width, random() * height, 1 + random() * 14];
    const value = Math.floor(random() * 4);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) if (Math.hypot(x - x0, y - y0) < radius) values[y * width + x] = value;
    }
  }
  return { width, height, values };
}

function generator(seed) {
  let state = seed;
  return () => (state = (state * 16807) % 2147483647) / 2147483647;
}

const random = generator(12);
const masks = Array.from({ length: 25 }, () => randomMask(random));
const objectsOf = (mask) => measure(mask, 3).flatMap(({ bbox, area }, index) => (bbox ? [{ value: index + 1, bbox, area }] : []));
const pixelsOf = (mask, value) => Array.from(mask.values, (each) => Number(each === value));

test('run lengths describe the pixels of a value, with or without its bounds', () => {
  for (const mask of masks) {
    for (const { value, bbox } of objectsOf(mask)) {
      const rle = encodeRle(mask, value, bbox);
      assert.deepEqual([...sampled(rle, mask.width, mask.height)], pixelsOf(mask, value));
      assert.equal(encodeRle(mask, value, [0, 0, mask.width, mask.height]).counts, rle.counts);
    }
  }
  const full = { width: 3, height: 2, values: new Uint8Array(6).fill(1) };
  assert.deepEqual(runEnds(encodeRle(full, 1, [0, 0, 3, 2]).counts), [0, 6]);
  assert.equal(compress([0, 6]), '06');
});

test('a mask is resampled to the pixels that are nearest to the centres of the new ones', () => {
  for (const mask of masks.slice(0, 8)) {
    for (const { value, bbox } of objectsOf(mask)) {
      const rle = encodeRle(mask, value, bbox);
      for (const [columns, rows] of [[60, 45], [31, 17], [7, 100], [120, 90], [200, 3], [1, 1]]) {
        const expected = Array.from({ length: columns * rows }, (_, at) => {
          const x = Math.floor((((at % columns) + 0.5) * mask.width) / columns);
          const y = Math.floor(((Math.floor(at / columns) + 0.5) * mask.height) / rows);
          return Number(mask.values[y * mask.width + x] === value);
        });
        assert.deepEqual([...sampled(rle, columns, rows)], expected, `${columns} x ${rows}`);
      }
    }
  }
});

test('polygons without tolerance fill exactly the pixels of a value', () => {
  for (const mask of masks) {
    for (const { value, bbox } of objectsOf(mask)) {
      const polygons = toPolygons(mask, value, bbox, 0);
      assert.deepEqual([...fillRings(polygons.flat(), mask.width, mask.height)], pixelsOf(mask, value));
    }
  }
});

test('simplified polygons have fewer corners, lie within the tolerance and do not cross themselves', () => {
  let [exactCorners, simplifiedCorners] = [0, 0];
  for (const mask of masks) {
    for (const { value, bbox, area } of objectsOf(mask)) {
      const exact = toPolygons(mask, value, bbox, 0).flat();
      const simplified = toPolygons(mask, value, bbox, 1).flat();
      exactCorners += exact.flat().length;
      simplifiedCorners += simplified.flat().length;
      assert.equal(simplified.length, exact.length);
      assert.ok(simplified.every((ring) => ring.length >= 3));
      const filled = fillRings(simplified, mask.width, mask.height);
      const wrong = pixelsOf(mask, value).filter((inside, at) => inside !== filled[at]).length;
      assert.ok(wrong <= exact.flat().length, `${wrong} of ${area}`);
      // What was simplified does not have to be simplified less.
      assert.deepEqual(simplifyRings(simplified, 0.01), simplified);
    }
  }
  assert.ok(simplifiedCorners < 0.45 * exactCorners, `${simplifiedCorners} of ${exactCorners}`);
});

test('a hole belongs to the polygon around it', () => {
  const values = new Uint8Array(81);
  for (let y = 0; y < 9; y += 1) for (let x = 0; x < 9; x += 1) values[9 * y + x] = Number([0, 2, 4].includes(Math.max(Math.abs(x - 4), Math.abs(y - 4))));
  const polygons = toPolygons({ width: 9, height: 9, values }, 1, [0, 0, 9, 9], 0);
  assert.deepEqual(polygons.map((polygon) => polygon.length), [1, 2, 2]);
});

test('masks survive encoding as PNG, with 8 bits and with 16', async () => {
  for (const values of [masks[0].values, Uint16Array.from(masks[0].values, (value) => 300 * value)]) {
    const decoded = await decodePng(await encodePng({ ...masks[0], values }));
    assert.deepEqual(decoded, { ...masks[0], values });
  }
});

test('fixed masks lie over those that the model found, and values are those of the objects in order', () => {
  globalThis.Path2D ??= class {
    moveTo() {}
    lineTo() {}
    closePath() {}
  };
  const size = { width: 4, height: 1 };
  const rle = (...pixels) => encodeRle({ ...size, values: Uint8Array.from(pixels) }, 1, [0, 0, 4, 1]);
  const object = (id, mask) => ({ id, mask });
  const fixed = (order, ...pixels) => ({ rle: rle(...pixels), order, score: null });
  const found = {
    mask: { ...size, values: Uint8Array.from([1, 1, 2, 2]) },
    ids: [4, 6],
    results: new Map([[4, { score: 0.9, area: 2, bbox: [0, 0, 2, 1], sameAs: null }], [6, { score: 0.8, area: 2, bbox: [2, 0, 2, 1], sameAs: null }]]),
    shapes: new Map(),
    png: null,
  };
  const objects = [object(3, fixed(2, 0, 1, 1, 0)), object(4, null), object(5, fixed(1, 1, 1, 0, 0)), object(6, null), object(7, null)];
  const { ids, mask, results } = withFixedMasks(found, objects, size);
  assert.deepEqual(ids, [3, 4, 5, 6]);
  assert.deepEqual([...mask.values], [3, 1, 1, 4]);
  assert.deepEqual([3, 4, 5, 6].map((id) => [results.get(id).score, results.get(id).area]), [[null, 2], [0.9, 0], [null, 1], [0.8, 1]]);
  assert.equal(withFixedMasks(found, [object(4, null)], size), found);
});

test('COCO files with polygons, compressed and uncompressed run lengths are read', () => {
  const segmentations = [[[1, 0, 3, 0, 3, 2, 1, 2], [0, 3, 1, 3, 1, 4, 0, 4]], { size: [4, 5], counts: [1, 2, 17] }, { size: [4, 5], counts: '11b0' }];
  const coco = {
    images: [{ id: 9, file_name: 'train/a.jpg', width: 5, height: 4 }, { id: 8, file_name: 'b.jpg', width: 1, height: 1 }],
    categories: [{ id: 4, name: 'Cup' }, { id: 2, name: 'Spoon' }],
    annotations: segmentations.map((segmentation, index) => ({ id: index, image_id: 9, category_id: [2, 4, 5][index], segmentation, score: index ? 0.5 : undefined })),
  };
  const { images: [first, second], categories } = readCoco(coco);
  assert.deepEqual([first.name, second.masks, categories], ['a.jpg', [], ['Cup', 'Spoon']]);
  assert.deepEqual(first.masks.map(({ category, score }) => [category, score]), [[1, null], [0, 0.5], [-1, 0.5]]);
  const filled = [...sampled(first.masks[0].rle, 5, 4)];
  assert.deepEqual(filled, [0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
  assert.deepEqual([...sampled(first.masks[1].rle, 5, 4)].flatMap((inside, at) => (inside ? [at] : [])), [5, 10]);
  assert.throws(() => readCoco({ images: [] }), /no lists/);
  const wrong = { ...coco, annotations: [{ ...coco.annotations[1], segmentation: { size: [5, 4], counts: [20] } }] };
  assert.throws(() => readCoco(wrong), /size of its image/);
});
