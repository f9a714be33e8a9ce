/** What the server answered, ready to be shown: which pixels belong to which thing, and how sure the model is. */

import { fromBase64 } from './base64.js';
import { soften, toPath, trace } from './contour.js';
import { decodePng } from './png.js';

/** @typedef {import('../api/client.js').MaskData} MaskData */
/** @typedef {import('../api/client.js').Segment} Segment */
/** @typedef {import('./png.js').Categorical} Categorical */

/**
 * @typedef {object} Result what became of one thing
 * @property {number} score predicted IoU, 0 to 1
 * @property {number} share of the picture, 0 to 1
 * @property {number | null} sameAs the thing that it turned out to be
 */

/**
 * @typedef {object} Answer
 * @property {Categorical} mask 0 is background, value k the k-th of `ids`
 * @property {number[]} ids of the things that were asked for
 * @property {Map<number, Result>} results by the thing's id
 * @property {Map<number, Path2D>} shapes by the thing's id, in pixels of the mask; none where nothing was found
 * @property {Uint8Array<ArrayBuffer>} png as it came
 * @property {Segment[]} segments
 */

/**
 * @param {MaskData} data
 * @param {number[]} ids
 * @returns {Promise<Answer>}
 */
export async function readAnswer(data, ids) {
  if (data.b64_json === null) throw new Error('The server answered no mask.');
  const png = fromBase64(data.b64_json);
  const mask = await decodePng(png);
  const seen = new Uint8Array(mask.values.length);
  /** @type {Map<number, Result>} */
  const results = new Map();
  /** @type {Map<number, Path2D>} */
  const shapes = new Map();
  for (const segment of data.segments) {
    const owner = ids[segment.value - 1];
    if (owner === undefined) continue;
    if (segment.bbox) shapes.set(owner, toPath(trace(mask, segment.value, segment.bbox, seen).map(soften)));
    const share = segment.area / mask.values.length;
    for (const place of segment.prompts) {
      const id = ids[place];
      if (id !== undefined) {
        results.set(id, { score: segment.score, share, sameAs: id === owner ? null : owner });
      }
    }
  }
  return { mask, ids, results, shapes, png, segments: data.segments };
}
