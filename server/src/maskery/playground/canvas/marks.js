/** Points, boxes and the crosshair, drawn over the picture in sizes of the screen. */

import { cssColour } from '../mask/colours.js';

/** @typedef {import('../state/prompt.js').Point} Point */
/** @typedef {import('../state/prompt.js').Thing} Thing */
/** @typedef {import('./view.js').View} View */
/** @typedef {import('./view.js').Place} Place */

const LARGE = 8;
const SMALL = 4.5;

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Thing} thing
 * @param {boolean} selected
 */
export function drawThing(context, view, thing, selected) {
  if (thing.box) drawBox(context, view, thing.box, cssColour(thing.id), selected);
  for (const point of thing.points) drawPoint(context, view, point, thing.id, selected);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {[number, number, number, number]} box
 * @param {string} colour
 * @param {boolean} strong
 */
export function drawBox(context, view, box, colour, strong) {
  const start = view.toScreen({ x: box[0], y: box[1] });
  const end = view.toScreen({ x: box[2], y: box[3] });
  const sides = /** @type {const} */ ([start.x, start.y, end.x - start.x, end.y - start.y]);
  context.setLineDash([]);
  context.strokeStyle = 'rgb(0 0 0 / 0.45)';
  context.lineWidth = strong ? 4 : 2.5;
  context.strokeRect(...sides);
  context.setLineDash([7, 5]);
  context.strokeStyle = strong ? '#fff' : colour;
  context.lineWidth = strong ? 2 : 1.25;
  context.strokeRect(...sides);
  context.setLineDash([]);
}

/**
 * A plus in the thing's colour is on it, a minus on white is not.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Point} point
 * @param {number} id
 * @param {boolean} selected
 */
function drawPoint(context, view, point, id, selected) {
  const { x, y } = middle(view, point);
  const radius = selected ? LARGE : SMALL;
  context.beginPath();
  context.arc(x, y, radius + 2, 0, 2 * Math.PI);
  context.fillStyle = 'rgb(0 0 0 / 0.4)';
  context.fill();
  context.beginPath();
  context.arc(x, y, radius + 0.75, 0, 2 * Math.PI);
  context.fillStyle = point.on ? '#fff' : cssColour(id);
  context.fill();
  context.beginPath();
  context.arc(x, y, radius - 1.25, 0, 2 * Math.PI);
  context.fillStyle = point.on ? cssColour(id) : '#fff';
  context.fill();
  if (!selected) return;
  context.strokeStyle = '#111';
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x - 3.5, y);
  context.lineTo(x + 3.5, y);
  if (point.on) {
    context.moveTo(x, y - 3.5);
    context.lineTo(x, y + 3.5);
  }
  context.stroke();
}

/**
 * Where the pointer would be if one had a pointer.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Place} place in the picture
 * @param {'include' | 'exclude'} kind
 */
export function drawCrosshair(context, view, place, kind) {
  const { x, y } = middle(view, place);
  const [gap, arm] = [9, 26];
  for (const [colour, width] of /** @type {const} */ ([
    ['rgb(0 0 0 / 0.65)', 4.5],
    ['#fff', 2],
  ])) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, gap - 3, 0, 2 * Math.PI);
    for (const [dx, dy] of /** @type {const} */ ([[1, 0], [-1, 0], [0, 1], [0, -1]])) {
      if (kind === 'exclude' && dy) continue;
      context.moveTo(x + dx * gap, y + dy * gap);
      context.lineTo(x + dx * arm, y + dy * arm);
    }
    context.stroke();
  }
}

/**
 * The middle of a pixel, on the screen.
 *
 * @param {View} view
 * @param {Place} place
 */
export function middle(view, place) {
  return view.toScreen({ x: Math.floor(place.x) + 0.5, y: Math.floor(place.y) + 0.5 });
}
