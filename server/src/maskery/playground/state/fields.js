/** Converts prompts to the fields of a request (`docs/api.md`). */

import { isComplete } from './prompt.js';

/** @typedef {import('./prompt.js').ObjectPrompt} ObjectPrompt */
/** @typedef {import('./prompt.js').Box} Box */
/** @typedef {import('./prompt.js').Rle} Rle */

/**
 * @typedef {object} PromptFields
 * @property {[number, number][][]} segment_prompt
 * @property {(0 | 1)[][]} [point_labels]
 * @property {(Box | null)[]} [boxes]
 * @property {(Rle | null)[]} [mask_prompts]
 */

/**
 * The objects that the model is to segment, and their fields; null if there are none.
 *
 * A field is left out if all objects have its default.
 *
 * @param {ObjectPrompt[]} objects
 * @returns {{ objects: ObjectPrompt[], fields: PromptFields } | null}
 */
export function toFields(objects) {
  const complete = objects.filter((object) => isComplete(object) && !object.mask);
  if (!complete.length) return null;
  /** @type {PromptFields} */
  const fields = { segment_prompt: complete.map((object) => object.points.map(({ x, y }) => [x, y])) };
  if (complete.some((object) => object.points.some((point) => !point.positive))) {
    fields.point_labels = complete.map((object) => object.points.map((point) => (point.positive ? 1 : 0)));
  }
  if (complete.some((object) => object.box)) fields.boxes = complete.map((object) => object.box);
  if (complete.some((object) => object.maskPrompt)) fields.mask_prompts = complete.map((object) => object.maskPrompt);
  return { objects: complete, fields };
}
