/** The visible part of a large image at full resolution, for views that zoom in. */

import { context2d, fullBitmap } from '../image/image.js';

/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('./draw.js').Area} Area */

const MAX_PIXELS = 12_000_000;
/** Milliseconds that the view must stay unchanged before a part is decoded. */
const DELAY = 160;

export class Detail {
  #onLoad;
  /** @type {{ canvas: OffscreenCanvas, area: Area } | null} */
  #part = null;
  /** @type {SourceImage | null} */
  #image = null;
  #timer = 0;
  #sequence = 0;

  /** @param {() => void} onLoad */
  constructor(onLoad) {
    this.#onLoad = onLoad;
  }

  /** @param {SourceImage | null} image */
  show(image) {
    this.#image = image;
    this.#sequence += 1;
    clearTimeout(this.#timer);
    this.#part = null;
  }

  /** The latest part; null if none has been decoded. */
  get part() {
    return this.#part;
  }

  /**
   * Decode the visible part if the downscaled bitmap is too coarse for it.
   *
   * @param {Area} visible in pixels of the image
   * @param {number} scale device pixels per pixel of the image
   */
  request(visible, scale) {
    const image = this.#image;
    clearTimeout(this.#timer);
    if (!image || scale <= (1.1 * image.bitmap.width) / image.width) return;
    const area = clipped(image, visible);
    if (area.width < 1 || area.height < 1 || area.width * area.height > MAX_PIXELS) return;
    if (this.#part && contains(this.#part.area, clipped(image, visible, 0))) return;
    this.#timer = setTimeout(() => void this.#load(image, area), DELAY);
  }

  /**
   * @param {SourceImage} image
   * @param {Area} area
   */
  async #load(image, area) {
    const sequence = (this.#sequence += 1);
    const { x, y, width, height } = area;
    const bitmap = await fullBitmap(image).catch(() => null);
    if (bitmap && sequence === this.#sequence) {
      // createImageBitmap can crop too, but Chromium crops before it applies the EXIF orientation.
      const canvas = new OffscreenCanvas(width, height);
      context2d(canvas).drawImage(bitmap, x, y, width, height, 0, 0, width, height);
      this.#part = { canvas, area };
      this.#onLoad();
    }
    bitmap?.close();
  }
}

/**
 * The visible area in whole pixels, extended by a margin and clipped to the image.
 *
 * @param {SourceImage} image
 * @param {Area} visible
 * @param {number} [margin] as a fraction of the area's sides
 * @returns {Area}
 */
function clipped(image, visible, margin = 0.25) {
  const [marginX, marginY] = [visible.width * margin, visible.height * margin];
  const x = Math.max(0, Math.floor(visible.x - marginX));
  const y = Math.max(0, Math.floor(visible.y - marginY));
  return {
    x,
    y,
    width: Math.min(image.width, Math.ceil(visible.x + visible.width + marginX)) - x,
    height: Math.min(image.height, Math.ceil(visible.y + visible.height + marginY)) - y,
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
