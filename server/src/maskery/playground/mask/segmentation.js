/** Decodes the response of the server: the mask, and for each object its shape, score and size. */

import { fromBase64 } from './base64.js';
import { smooth, toPath, trace } from './contour.js';
import { decodePng } from './png.js';

/** @typedef {import('../api/client.js').MaskData} MaskData */
/** @typedef {import('../api/client.js').Segment} Segment */
/** @typedef {import('./png.js').CategoricalMask} CategoricalMask */

/**
 * @typedef {object} Result of one object
 * @property {number} score predicted IoU, 0 to 1
 * @property {number} fraction of the image's pixels, 0 to 1
 * @property {number | null} sameAs id of the object that has the same mask
 */

/**
 * @typedef {object} Segmentation
 * @property {CategoricalMask} mask 0 is the background, k the k-th of `ids`
 * @property {number[]} ids of the objects in the request
 * @property {Map<number, Result>} results by object id
 * @property {Map<number, Path2D>} shapes by object id, in pixels of the mask; empty masks have none
 * @property {Uint8Array<ArrayBuffer>} png of the response
 * @property {Segment[]} segments
 */

/**
 * @param {MaskData} data
 * @param {number[]} ids
 * @returns {Promise<Segmentation>}
 */
export async function readSegmentation(data, ids) {
  if (data.b64_json === null) throw new Error('The response has no mask.');
  const png = fromBase64(data.b64_json);
  const mask = await decodePng(png);
  const visited = new Uint8Array(mask.values.length);
  /** @type {Map<number, Result>} */
  const results = new Map();
  /** @type {Map<number, Path2D>} */
  const shapes = new Map();
  for (const segment of data.segments) {
    const owner = ids[segment.value - 1];
    if (owner === undefined) continue;
    if (segment.bbox) shapes.set(owner, toPath(trace(mask, segment.value, segment.bbox, visited).map(smooth)));
    const fraction = segment.area / mask.values.length;
    for (const index of segment.prompts) {
      const id = ids[index];
      if (id !== undefined) {
        results.set(id, { score: segment.score, fraction, sameAs: id === owner ? null : owner });
      }
    }
  }
  return { mask, ids, results, shapes, png, segments: data.segments };
}
