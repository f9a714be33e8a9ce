/** The canvas that shows the image, below the one for masks and prompts. It is redrawn only if its content changes. */

import { Detail } from './detail.js';
import { visibleShapes, union } from './draw.js';

/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('./draw.js').Area} Area */

export class ImageLayer {
  #canvas;
  #context;
  #detail;
  /** @type {unknown[]} the values that the last drawing depended on */
  #drawn = [];

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onLoad called when a part of the image has been decoded at full resolution
   */
  constructor(canvas, onLoad) {
    const context = canvas.getContext('2d');
    if (!context) throw new Error('The browser does not support canvas.');
    this.#canvas = canvas;
    this.#context = context;
    this.#detail = new Detail(onLoad);
  }

  /** @param {import('../image/image.js').SourceImage | null} image */
  show(image) {
    this.#detail.show(image);
    if (!image) this.resize(this.#canvas.width, this.#canvas.height);
  }

  /**
   * @param {number} width in device pixels
   * @param {number} height in device pixels
   */
  resize(width, height) {
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#drawn = [];
  }

  /** Redraw with the colours of the current colour scheme. */
  repaint() {
    this.#drawn = [];
  }

  /**
   * @param {State} state
   * @param {Area} area of the image on the canvas, in device pixels
   * @param {number} ratio device pixels per CSS pixel
   * @param {boolean} moving whether to prefer speed to quality
   */
  draw(state, area, ratio, moving) {
    const { image, segmentation, history, labels, viewMode } = state;
    if (!image) return;
    this.#requestDetail(image, area);
    const masks = viewMode === 'cutout' ? [segmentation, ...history.present.objects] : [];
    const values = [image, viewMode, moving, area.x, area.y, area.width, area.height, this.#detail.part, ...masks];
    if (values.length === this.#drawn.length && values.every((value, index) => value === this.#drawn[index])) return;
    this.#drawn = values;
    const context = this.#context;
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (viewMode === 'mask') {
      fill(context, area, '#0b0b0c');
    } else if (viewMode === 'cutout') {
      fill(context, area, checkerboard(context, area, 12 * ratio));
      const shapes = visibleShapes(segmentation, history.present.objects, labels);
      context.save();
      context.clip(segmentation ? union(shapes, segmentation, area) : new Path2D());
      this.#drawImage(image, area, moving);
      context.restore();
    } else {
      // The server composes transparent pixels on white too.
      fill(context, area, '#fff');
      this.#drawImage(image, area, moving);
    }
  }

  /**
   * @param {import('../image/image.js').SourceImage} image
   * @param {Area} area
   * @param {boolean} moving
   */
  #drawImage(image, area, moving) {
    const context = this.#context;
    const scale = area.width / image.width;
    // At five times and more, single pixels are shown.
    context.imageSmoothingEnabled = scale < 5;
    context.imageSmoothingQuality = moving ? 'low' : 'high';
    context.drawImage(image.bitmap, area.x, area.y, area.width, area.height);
    const part = this.#detail.part;
    if (!part) return;
    const { x, y, width, height } = part.area;
    context.drawImage(part.canvas, area.x + x * scale, area.y + y * scale, width * scale, height * scale);
  }

  /**
   * @param {import('../image/image.js').SourceImage} image
   * @param {Area} area
   */
  #requestDetail(image, area) {
    const scale = area.width / image.width;
    const { width, height } = this.#canvas;
    const visible = { x: -area.x / scale, y: -area.y / scale, width: width / scale, height: height / scale };
    this.#detail.request(visible, scale);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Area} area
 * @param {string | CanvasPattern} style
 */
function fill(context, { x, y, width, height }, style) {
  context.fillStyle = style;
  context.fillRect(x, y, width, height);
}

/**
 * The pattern that stands for transparent pixels.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Area} area
 * @param {number} side of a square, in device pixels
 */
function checkerboard(context, area, side) {
  const tile = new OffscreenCanvas(Math.round(side) * 2, Math.round(side) * 2);
  const drawing = tile.getContext('2d');
  if (!drawing) return '#888';
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  drawing.fillStyle = dark ? '#2a2a2d' : '#ffffff';
  drawing.fillRect(0, 0, tile.width, tile.height);
  drawing.fillStyle = dark ? '#202022' : '#e9e7e2';
  drawing.fillRect(0, 0, tile.width / 2, tile.height / 2);
  drawing.fillRect(tile.width / 2, tile.height / 2, tile.width / 2, tile.height / 2);
  const pattern = context.createPattern(tile, 'repeat');
  pattern?.setTransform(new DOMMatrix().translate(area.x, area.y));
  return pattern ?? '#888';
}
