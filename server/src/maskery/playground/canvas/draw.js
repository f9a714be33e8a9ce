/** Draws masks, on the stage and for exports. */

import { cssColour } from '../mask/colours.js';
import { colourIdOf } from '../state/labels.js';

/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */
/** @typedef {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} Context */
/** @typedef {{ x: number, y: number, width: number, height: number }} Area */

/** @typedef {{ id: number, colour: number, shape: Path2D }} Shape with the id that determines its colour */

/**
 * The shapes of the objects that are not hidden, in drawing order.
 *
 * @param {Segmentation | null} segmentation
 * @param {ObjectPrompt[]} objects
 * @param {import('../state/labels.js').Labels} labels
 * @returns {Shape[]}
 */
export function visibleShapes(segmentation, objects, labels) {
  return objects.flatMap((object) => {
    const shape = segmentation?.shapes.get(object.id);
    return shape && !object.hidden ? [{ id: object.id, colour: colourIdOf(labels, object), shape }] : [];
  });
}

/**
 * Draw in the mask's coordinates, scaled to the image's area.
 *
 * @param {Context} context
 * @param {Segmentation} segmentation
 * @param {Area} area of the image on the canvas
 * @param {(unit: number) => void} draw called with the size of a canvas pixel in mask pixels
 */
export function onMask(context, segmentation, area, draw) {
  const scale = area.width / segmentation.mask.width;
  context.save();
  context.translate(area.x, area.y);
  context.scale(scale, area.height / segmentation.mask.height);
  draw(1 / scale);
  context.restore();
}

/**
 * @param {Context} context
 * @param {Shape[]} shapes
 * @param {number} unit size of a canvas pixel in mask pixels
 * @param {number | null} selected id of the object to emphasise
 */
export function drawOverlay(context, shapes, unit, selected) {
  context.lineJoin = 'round';
  for (const { id, colour, shape } of shapes) {
    const emphasised = id === selected;
    context.fillStyle = cssColour(colour, emphasised ? 0.34 : 0.27);
    context.fill(shape);
    context.strokeStyle = emphasised ? 'rgb(255 255 255 / 0.9)' : 'rgb(0 0 0 / 0.35)';
    context.lineWidth = (emphasised ? 4.5 : 3.5) * unit;
    context.stroke(shape);
    context.strokeStyle = cssColour(colour);
    context.lineWidth = (emphasised ? 2.25 : 1.75) * unit;
    context.stroke(shape);
  }
}

/**
 * @param {Context} context
 * @param {Shape[]} shapes
 */
export function drawFlat(context, shapes) {
  for (const { colour, shape } of shapes) {
    context.fillStyle = cssColour(colour);
    context.fill(shape);
  }
}

/**
 * The union of shapes as one path, in the canvas' coordinates.
 *
 * @param {Shape[]} shapes
 * @param {Segmentation} segmentation
 * @param {Area} area of the image on the canvas
 * @returns {Path2D}
 */
export function union(shapes, segmentation, area) {
  const transform = new DOMMatrix([
    area.width / segmentation.mask.width,
    0,
    0,
    area.height / segmentation.mask.height,
    area.x,
    area.y,
  ]);
  const all = new Path2D();
  for (const { shape } of shapes) all.addPath(shape, transform);
  return all;
}
