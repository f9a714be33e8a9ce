/** From the prompt to the fields of a request, as `docs/api.md` of the server describes them. */

import { isAskable } from './prompt.js';

/** @typedef {import('./prompt.js').Thing} Thing */
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
 * The things that the server can be asked for, and what it is asked; null where there are none.
 *
 * Fields in which every thing has the default are left out.
 *
 * @param {Thing[]} things
 * @returns {{ things: Thing[], fields: PromptFields } | null}
 */
export function toFields(things) {
  const asked = things.filter(isAskable);
  if (!asked.length) return null;
  /** @type {PromptFields} */
  const fields = { segment_prompt: asked.map((thing) => thing.points.map(({ x, y }) => [x, y])) };
  if (asked.some((thing) => thing.points.some((point) => !point.on))) {
    fields.point_labels = asked.map((thing) => thing.points.map((point) => (point.on ? 1 : 0)));
  }
  if (asked.some((thing) => thing.box)) fields.boxes = asked.map((thing) => thing.box);
  if (asked.some((thing) => thing.start)) fields.mask_prompts = asked.map((thing) => thing.start);
  return { things: asked, fields };
}
