/** The picture with what was found in it, in all of its pixels: over it, or cut out of it. */

import { drawOverlay, onMask, shownShapes } from '../canvas/draw.js';
import { context2d, wholeBitmap } from '../picture/picture.js';

/** @typedef {import('../mask/answer.js').Answer} Answer */
/** @typedef {import('../picture/picture.js').Picture} Picture */
/** @typedef {import('../state/prompt.js').Thing} Thing */

/**
 * @param {Picture} picture
 * @param {Answer} answer of the picture's size
 * @param {Thing[]} things hidden ones are left out
 */
export async function overlayPng(picture, answer, things) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = context2d(canvas);
  const area = { x: 0, y: 0, width: picture.width, height: picture.height };
  const whole = await wholeBitmap(picture);
  context.drawImage(whole, 0, 0);
  whole.close();
  const unit = Math.max(1, Math.min(picture.width, picture.height) / 600);
  onMask(context, answer, area, () => drawOverlay(context, shownShapes(answer, things), unit, null));
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * Transparent everywhere else, and no larger than the things are.
 *
 * @param {Picture} picture
 * @param {Answer} answer of the picture's size
 * @param {Thing[]} things hidden ones are left out
 */
export async function cutoutPng(picture, answer, things) {
  const { values, width, height } = answer.mask;
  const hidden = new Set(things.filter((thing) => thing.hidden).map((thing) => thing.id));
  const wanted = new Uint8Array(answer.ids.length + 1);
  answer.ids.forEach((id, place) => (wanted[place + 1] = hidden.has(id) ? 0 : 1));
  const area = bounds(answer, wanted);
  if (!area) throw new Error('There is nothing to cut out: no object is shown, or nothing was found.');
  const mask = new ImageData(area.width, area.height);
  for (let y = 0; y < area.height; y += 1) {
    for (let x = 0; x < area.width; x += 1) {
      if (wanted[values[(area.y + y) * width + area.x + x] ?? 0]) mask.data[4 * (y * area.width + x) + 3] = 255;
    }
  }
  const canvas = new OffscreenCanvas(area.width, area.height);
  const context = context2d(canvas);
  context.putImageData(mask, 0, 0);
  context.globalCompositeOperation = 'source-in';
  const whole = await wholeBitmap(picture);
  context.drawImage(whole, -area.x, -area.y, width, height);
  whole.close();
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * @param {Answer} answer
 * @param {Uint8Array} wanted by the mask's value
 */
function bounds(answer, wanted) {
  const boxes = answer.segments.flatMap(({ value, bbox }) => (bbox && wanted[value] ? [bbox] : []));
  if (!boxes.length) return null;
  const x = Math.min(...boxes.map((box) => box[0]));
  const y = Math.min(...boxes.map((box) => box[1]));
  return {
    x,
    y,
    width: Math.max(...boxes.map((box) => box[0] + box[2])) - x,
    height: Math.max(...boxes.map((box) => box[1] + box[3])) - y,
  };
}
