/** Draws points, boxes and the crosshair, in sizes that do not depend on the zoom. */

/** @typedef {import('../state/prompt.js').Point} Point */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */
/** @typedef {import('./view.js').View} View */
/** @typedef {import('./view.js').Position} Position */

/** Radius of the points of the selected object and of the others, in CSS pixels. */
const LARGE = 8;
const SMALL = 4.5;

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {ObjectPrompt} object
 * @param {string} colour
 * @param {boolean} selected
 */
export function drawPrompt(context, view, object, colour, selected) {
  if (object.box) drawBox(context, view, object.box, colour, selected);
  for (const point of object.points) drawPoint(context, view, point, colour, selected);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {[number, number, number, number]} box
 * @param {string} colour
 * @param {boolean} emphasised
 */
export function drawBox(context, view, box, colour, emphasised) {
  const start = view.toScreen({ x: box[0], y: box[1] });
  const end = view.toScreen({ x: box[2], y: box[3] });
  const sides = /** @type {const} */ ([start.x, start.y, end.x - start.x, end.y - start.y]);
  context.setLineDash([]);
  context.strokeStyle = 'rgb(0 0 0 / 0.45)';
  context.lineWidth = emphasised ? 4 : 2.5;
  context.strokeRect(...sides);
  context.setLineDash([7, 5]);
  context.strokeStyle = emphasised ? '#fff' : colour;
  context.lineWidth = emphasised ? 2 : 1.25;
  context.strokeRect(...sides);
  context.setLineDash([]);
}

/**
 * A positive point is a plus in the object's colour, a negative one a minus on white.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Point} point
 * @param {string} colour
 * @param {boolean} selected
 */
function drawPoint(context, view, point, colour, selected) {
  const { x, y } = pixelCentre(view, point);
  const radius = selected ? LARGE : SMALL;
  context.beginPath();
  context.arc(x, y, radius + 2, 0, 2 * Math.PI);
  context.fillStyle = 'rgb(0 0 0 / 0.4)';
  context.fill();
  context.beginPath();
  context.arc(x, y, radius + 0.75, 0, 2 * Math.PI);
  context.fillStyle = point.positive ? '#fff' : colour;
  context.fill();
  context.beginPath();
  context.arc(x, y, radius - 1.25, 0, 2 * Math.PI);
  context.fillStyle = point.positive ? colour : '#fff';
  context.fill();
  if (!selected) return;
  context.strokeStyle = '#111';
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x - 3.5, y);
  context.lineTo(x + 3.5, y);
  if (point.positive) {
    context.moveTo(x, y - 3.5);
    context.lineTo(x, y + 3.5);
  }
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Position} position in the image
 * @param {'include' | 'exclude'} kind
 */
export function drawCrosshair(context, view, position, kind) {
  const { x, y } = pixelCentre(view, position);
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
 * Stroke the current path white on black, so that it is visible on every image.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {number} width of the white line, in CSS pixels
 */
export function strokeVisibly(context, width) {
  context.lineWidth = 3;
  context.strokeStyle = 'rgb(0 0 0 / 0.5)';
  context.stroke();
  context.lineWidth = width;
  context.strokeStyle = '#fff';
  context.stroke();
}

/**
 * The centre of a pixel, in CSS pixels of the stage.
 *
 * @param {View} view
 * @param {Position} position
 */
export function pixelCentre(view, position) {
  return view.toScreen({ x: Math.floor(position.x) + 0.5, y: Math.floor(position.y) + 0.5 });
}
