/** The part of a large picture that is looked at closely, with all of its pixels. */

import { context2d, wholeBitmap } from '../picture/picture.js';

/** @typedef {import('../picture/picture.js').Picture} Picture */
/** @typedef {import('./draw.js').Area} Area */

/** Pixels that are worth keeping beside the copy. */
const MOST = 12_000_000;
const PAUSE = 160;

export class Detail {
  #changed;
  /** @type {{ canvas: OffscreenCanvas, area: Area } | null} */
  #part = null;
  /** @type {Picture | null} */
  #picture = null;
  #timer = 0;
  #turn = 0;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @param {Picture | null} picture */
  show(picture) {
    this.#picture = picture;
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#part = null;
  }

  get part() {
    return this.#part;
  }

  /**
   * Once the view has come to rest.
   *
   * @param {Area} seen of the picture, in its pixels
   * @param {number} scale device pixels for one of the picture's
   */
  want(seen, scale) {
    const picture = this.#picture;
    clearTimeout(this.#timer);
    if (!picture || scale <= (1.1 * picture.bitmap.width) / picture.width) return;
    const area = within(picture, seen);
    if (area.width < 1 || area.height < 1 || area.width * area.height > MOST) return;
    if (this.#part && contains(this.#part.area, within(picture, seen, 0))) return;
    this.#timer = setTimeout(() => void this.#load(picture, area), PAUSE);
  }

  /**
   * @param {Picture} picture
   * @param {Area} area
   */
  async #load(picture, area) {
    const turn = (this.#turn += 1);
    const { x, y, width, height } = area;
    const whole = await wholeBitmap(picture).catch(() => null);
    if (whole && turn === this.#turn) {
      // createImageBitmap can cut a part out too, but of a photo on its side it takes another one.
      const canvas = new OffscreenCanvas(width, height);
      context2d(canvas).drawImage(whole, x, y, width, height, 0, 0, width, height);
      this.#part = { canvas, area };
      this.#changed();
    }
    whole?.close();
  }
}

/**
 * Whole pixels of the picture, with some margin to move in.
 *
 * @param {Picture} picture
 * @param {Area} seen
 * @param {number} [margin] in shares of the area
 * @returns {Area}
 */
function within(picture, seen, margin = 0.25) {
  const [wide, high] = [seen.width * margin, seen.height * margin];
  const x = Math.max(0, Math.floor(seen.x - wide));
  const y = Math.max(0, Math.floor(seen.y - high));
  return {
    x,
    y,
    width: Math.min(picture.width, Math.ceil(seen.x + seen.width + wide)) - x,
    height: Math.min(picture.height, Math.ceil(seen.y + seen.height + high)) - y,
  };
}

/**
 * @param {Area} outer
 * @param {Area} inner
 */
function contains(outer, inner) {
  return (
    inner.x >= outer.x &&
    inner.y >= outer.y &&
    inner.x + inner.width <= outer.x + outer.width &&
    inner.y + inner.height <= outer.y + outer.height
  );
}
