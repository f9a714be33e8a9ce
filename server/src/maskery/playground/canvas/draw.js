/** Drawing a picture and what was found in it. Used for the stage and for the files that are taken away. */

import { cssColour } from '../mask/colours.js';

/** @typedef {import('../mask/answer.js').Answer} Answer */
/** @typedef {import('../state/prompt.js').Thing} Thing */
/** @typedef {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} Context */
/** @typedef {{ x: number, y: number, width: number, height: number }} Area */

/** @typedef {{ id: number, shape: Path2D }} Shown */

/**
 * The things whose pixels are to be seen, in the order in which they are drawn.
 *
 * @param {Answer | null} answer
 * @param {Thing[]} things
 * @returns {Shown[]}
 */
export function shownShapes(answer, things) {
  const shown = [];
  for (const { id, hidden } of things) {
    const shape = answer?.shapes.get(id);
    if (shape && !hidden) shown.push({ id, shape });
  }
  return shown;
}

/**
 * Draws in the mask's own pixels, stretched onto the picture's area.
 *
 * @param {Context} context
 * @param {Answer} answer
 * @param {Area} area of the picture on the canvas
 * @param {(unit: number) => void} draw told how many of the mask's pixels one of the canvas' is
 */
export function onMask(context, answer, area, draw) {
  const scale = area.width / answer.mask.width;
  context.save();
  context.translate(area.x, area.y);
  context.scale(scale, area.height / answer.mask.height);
  draw(1 / scale);
  context.restore();
}

/**
 * @param {Context} context
 * @param {Shown[]} shown
 * @param {number} unit
 * @param {number | null} selected
 */
export function drawOverlay(context, shown, unit, selected) {
  context.lineJoin = 'round';
  for (const { id, shape } of shown) {
    const emphasised = id === selected;
    context.fillStyle = cssColour(id, emphasised ? 0.34 : 0.27);
    context.fill(shape);
    context.strokeStyle = emphasised ? 'rgb(255 255 255 / 0.9)' : 'rgb(0 0 0 / 0.35)';
    context.lineWidth = (emphasised ? 4.5 : 3.5) * unit;
    context.stroke(shape);
    context.strokeStyle = cssColour(id);
    context.lineWidth = (emphasised ? 2.25 : 1.75) * unit;
    context.stroke(shape);
  }
}

/**
 * @param {Context} context
 * @param {Shown[]} shown
 */
export function drawFlat(context, shown) {
  for (const { id, shape } of shown) {
    context.fillStyle = cssColour(id);
    context.fill(shape);
  }
}

/**
 * All of them as one, on the canvas that shows the picture.
 *
 * @param {Shown[]} shown
 * @param {Answer} answer
 * @param {Area} area of the picture on the canvas
 * @returns {Path2D}
 */
export function union(shown, answer, area) {
  const onto = new DOMMatrix([
    area.width / answer.mask.width,
    0,
    0,
    area.height / answer.mask.height,
    area.x,
    area.y,
  ]);
  const all = new Path2D();
  for (const { shape } of shown) all.addPath(shape, onto);
  return all;
}
