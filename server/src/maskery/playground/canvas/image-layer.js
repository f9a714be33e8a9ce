/** The picture itself, on a canvas below the one that is clicked on: it is drawn anew only when it looks different. */

import { Detail } from './detail.js';
import { shownShapes, union } from './draw.js';

/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('./draw.js').Area} Area */

export class Backdrop {
  #canvas;
  #context;
  #detail;
  /** @type {unknown[]} what the canvas shows */
  #shown = [];

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} changed told when more of the picture can be shown
   */
  constructor(canvas, changed) {
    const context = canvas.getContext('2d');
    if (!context) throw new Error('This browser cannot draw.');
    this.#canvas = canvas;
    this.#context = context;
    this.#detail = new Detail(changed);
  }

  /** @param {import('../picture/picture.js').Picture} picture */
  show(picture) {
    this.#detail.show(picture);
  }

  /**
   * @param {number} width in pixels of the device
   * @param {number} height
   */
  resize(width, height) {
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#shown = [];
  }

  /** Colours are others now. */
  repaint() {
    this.#shown = [];
  }

  /**
   * @param {State} state
   * @param {Area} area of the picture on the canvas, in its pixels
   * @param {number} ratio pixels of the device in one of CSS
   * @param {boolean} moving whether quick is better than fine
   */
  draw(state, area, ratio, moving) {
    const { picture, answer, history, look } = state;
    if (!picture) return;
    this.#wantDetail(picture, area);
    const cut = look === 'cutout' ? [answer, ...history.present.things] : [];
    const wanted = [picture, look, moving, area.x, area.y, area.width, area.height, this.#detail.part, ...cut];
    if (wanted.length === this.#shown.length && wanted.every((each, index) => each === this.#shown[index])) return;
    this.#shown = wanted;
    const context = this.#context;
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (look === 'mask') {
      fill(context, area, '#0b0b0c');
    } else if (look === 'cutout') {
      fill(context, area, checks(context, area, 12 * ratio));
      context.save();
      context.clip(answer ? union(shownShapes(answer, history.present.things), answer, area) : new Path2D());
      this.#drawPicture(picture, area, moving);
      context.restore();
    } else {
      // Models see white behind what is transparent.
      fill(context, area, '#fff');
      this.#drawPicture(picture, area, moving);
    }
  }

  /**
   * @param {import('../picture/picture.js').Picture} picture
   * @param {Area} area
   * @param {boolean} moving
   */
  #drawPicture(picture, area, moving) {
    const context = this.#context;
    const scale = area.width / picture.width;
    // From five-fold on a person looks at pixels.
    context.imageSmoothingEnabled = scale < 5;
    context.imageSmoothingQuality = moving ? 'low' : 'high';
    context.drawImage(picture.bitmap, area.x, area.y, area.width, area.height);
    const part = this.#detail.part;
    if (!part) return;
    const { x, y, width, height } = part.area;
    context.drawImage(part.canvas, area.x + x * scale, area.y + y * scale, width * scale, height * scale);
  }

  /**
   * @param {import('../picture/picture.js').Picture} picture
   * @param {Area} area
   */
  #wantDetail(picture, area) {
    const scale = area.width / picture.width;
    const { width, height } = this.#canvas;
    const seen = { x: -area.x / scale, y: -area.y / scale, width: width / scale, height: height / scale };
    this.#detail.want(seen, scale);
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
 * What is seen where there is nothing.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Area} area
 * @param {number} side
 */
function checks(context, area, side) {
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
