/** The masks of an image: those of the server's response, and the fixed ones on top of them. */

import { fromBase64 } from './base64.js';
import { smooth, toPath, trace } from './contour.js';
import { decodePng } from './png.js';
import { forEachInside } from './rle.js';

/** @typedef {import('../api/client.js').MaskData} MaskData */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */
/** @typedef {import('./png.js').CategoricalMask} CategoricalMask */
/** @typedef {{ width: number, height: number }} Size */

/**
 * @typedef {object} Result of one object
 * @property {number | null} score predicted IoU, 0 to 1; null if the mask was edited or imported
 * @property {number} area in pixels of the mask
 * @property {[number, number, number, number] | null} bbox x, y, width, height; null if the mask is empty
 * @property {number | null} sameAs id of the object that has the same mask
 */

/**
 * @typedef {object} Segmentation
 * @property {CategoricalMask} mask 0 is the background, k the k-th of `ids`
 * @property {number[]} ids of the objects
 * @property {Map<number, Result>} results by object id
 * @property {Map<number, Path2D>} shapes by object id, in pixels of the mask; empty masks have none
 * @property {Uint8Array<ArrayBuffer> | null} png of the response; null if the mask has been composed here
 */

/**
 * Decode the server's response.
 *
 * @param {MaskData} data
 * @param {number[]} ids of the objects in the request
 * @param {Segmentation | null} [before] the one that is shown; outlines that have not changed are taken from it
 * @returns {Promise<Segmentation>}
 */
export async function readSegmentation(data, ids, before = null) {
  if (data.b64_json === null) throw new Error('The response has no mask.');
  const png = fromBase64(data.b64_json);
  const mask = await decodePng(png);
  /** @type {Map<number, Result>} */
  const results = new Map();
  for (const { value, prompts, score, area, bbox } of data.segments) {
    const owner = ids[value - 1];
    if (owner === undefined) continue;
    for (const id of prompts.flatMap((index) => ids[index] ?? [])) {
      results.set(id, { score, area, bbox, sameAs: id === owner ? null : owner });
    }
  }
  return { mask, ids, results, shapes: traceShapes(mask, ids, results, before), png };
}

/**
 * Lay the fixed masks of objects over the masks that the model found. Value k is the k-th object, whichever kind it is.
 *
 * @param {Segmentation | null} found
 * @param {ObjectPrompt[]} objects of the image
 * @param {Size} size of the mask
 * @param {Segmentation | null} [shown] outlines that have not changed are taken from it
 * @returns {Segmentation | null} null if no object has a mask
 */
export function withFixedMasks(found, objects, { width, height }, shown = null) {
  const fixed = objects.filter((object) => object.mask);
  if (!fixed.length) return found;
  const ids = objects.filter((object) => object.mask || found?.ids.includes(object.id)).map((object) => object.id);
  const values = ids.length > 255 ? new Uint16Array(width * height) : new Uint8Array(width * height);
  if (found) {
    const renumbered = [0, ...found.ids.map((id) => ids.indexOf(id) + 1)];
    found.mask.values.forEach((value, at) => (values[at] = renumbered[value] ?? 0));
  }
  for (const { id, mask } of fixed.toSorted((one, other) => (one.mask?.order ?? 0) - (other.mask?.order ?? 0))) {
    if (!mask) continue;
    const value = ids.indexOf(id) + 1;
    forEachInside(mask.rle, width, height, (at) => (values[at] = value));
  }
  const mask = { width, height, values };
  const measured = measure(mask, ids.length);
  /** @type {Map<number, Result>} */
  const results = new Map();
  ids.forEach((id, index) => {
    const own = fixed.find((object) => object.id === id)?.mask;
    const result = found?.results.get(id);
    const { area, bbox } = measured[index] ?? { area: 0, bbox: null };
    if (result?.sameAs && !own) results.set(id, result);
    else results.set(id, { score: own ? own.score : (result?.score ?? null), area, bbox, sameAs: null });
  });
  return { mask, ids, results, shapes: traceShapes(mask, ids, results, shown), png: null };
}

/**
 * The outlines of the objects' visible masks.
 *
 * @param {CategoricalMask} mask
 * @param {number[]} ids
 * @param {Map<number, Result>} results
 * @param {Segmentation | null} before
 */
function traceShapes(mask, ids, results, before) {
  const visited = new Uint8Array(mask.values.length);
  /** @type {Map<number, Path2D>} */
  const shapes = new Map();
  ids.forEach((id, index) => {
    const result = results.get(id);
    if (!result?.bbox || result.sameAs !== null) return;
    const shape = before && unchanged(mask, index + 1, result, before, id) ? before.shapes.get(id) : null;
    shapes.set(id, shape ?? toPath(trace(mask, index + 1, result.bbox, visited).map(smooth)));
  });
  return shapes;
}

/**
 * Whether an object has the same pixels as before.
 *
 * @param {CategoricalMask} mask
 * @param {number} value of the object
 * @param {Result} result
 * @param {Segmentation} before
 * @param {number} id
 */
function unchanged({ width, height, values }, value, { area, bbox }, before, id) {
  const earlier = before.results.get(id);
  const isAlike = earlier?.area === area && String(earlier.bbox) === String(bbox);
  if (!isAlike || !bbox || before.mask.width !== width || before.mask.height !== height) return false;
  const earlierValue = before.ids.indexOf(id) + 1;
  const [left, top, columns, rows] = bbox;
  for (let y = top; y < top + rows; y += 1) {
    for (let at = y * width + left, end = at + columns; at < end; at += 1) {
      if ((values[at] === value) !== (before.mask.values[at] === earlierValue)) return false;
    }
  }
  return true;
}

/**
 * The area and the bounding box of each value from 1 on.
 *
 * @param {CategoricalMask} mask
 * @param {number} count of values
 * @returns {{ area: number, bbox: [number, number, number, number] | null }[]}
 */
export function measure({ width, height, values }, count) {
  const area = new Uint32Array(count + 1);
  const left = new Uint32Array(count + 1).fill(width);
  const right = new Uint32Array(count + 1);
  const top = new Uint32Array(count + 1).fill(height);
  const bottom = new Uint32Array(count + 1);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 1) {
      const value = /** @type {number} */ (values[at]);
      if (!value) continue;
      area[value] = /** @type {number} */ (area[value]) + 1;
      if (x < /** @type {number} */ (left[value])) left[value] = x;
      if (x >= /** @type {number} */ (right[value])) right[value] = x + 1;
      if (y < /** @type {number} */ (top[value])) top[value] = y;
      bottom[value] = y + 1;
    }
  }
  return Array.from({ length: count }, (_, index) => {
    const [x, y] = [left[index + 1] ?? 0, top[index + 1] ?? 0];
    const pixels = area[index + 1] ?? 0;
    return {
      area: pixels,
      bbox: pixels ? [x, y, (right[index + 1] ?? 0) - x, (bottom[index + 1] ?? 0) - y] : null,
    };
  });
}
