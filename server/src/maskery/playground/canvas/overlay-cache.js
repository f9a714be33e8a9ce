/** Keeps the drawing of the masks that have not changed, so that a click among many objects draws one. */

import { drawOverlay, onMask } from './draw.js';

/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */
/** @typedef {import('./draw.js').Area} Area */
/** @typedef {import('./draw.js').Shape} Shape */

export class OverlayCache {
  #canvas = new OffscreenCanvas(1, 1);
  /** @type {unknown[]} what is drawn on the canvas */
  #drawn = [];
  /** @type {unknown[]} where the last masks were drawn */
  #place = [];

  /**
   * Draw shapes that are not selected.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {Segmentation} segmentation
   * @param {Area} area of the image on the canvas
   * @param {Shape[]} shapes
   * @param {number} ratio device pixels per CSS pixel
   */
  draw(context, segmentation, area, shapes, ratio) {
    const { width, height } = context.canvas;
    const place = [width, height, area.x, area.y, area.width, area.height, segmentation.mask.width];
    const isMoving = !same(place, this.#place);
    this.#place = place;
    const wanted = [...place, ...shapes.flatMap(({ shape, colour }) => [shape, colour])];
    if (!same(wanted, this.#drawn)) {
      // While the view moves, every frame is another one.
      if (isMoving) {
        drawShapes(context, segmentation, area, shapes, ratio);
        return;
      }
      this.#canvas.width = width;
      this.#canvas.height = height;
      const cached = this.#canvas.getContext('2d');
      if (cached) drawShapes(cached, segmentation, area, shapes, ratio);
      this.#drawn = wanted;
    }
    context.drawImage(this.#canvas, 0, 0);
  }
}

/**
 * @param {import('./draw.js').Context} context
 * @param {Segmentation} segmentation
 * @param {Area} area
 * @param {Shape[]} shapes
 * @param {number} ratio
 */
function drawShapes(context, segmentation, area, shapes, ratio) {
  onMask(context, segmentation, area, (unit) => drawOverlay(context, shapes, unit * ratio, null));
}

/**
 * @param {unknown[]} one
 * @param {unknown[]} other
 */
function same(one, other) {
  return one.length === other.length && one.every((each, index) => each === other[index]);
}
