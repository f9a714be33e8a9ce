/** The zoom and pan of the image. Screen coordinates are CSS pixels of the stage. */

/** @typedef {{ width: number, height: number }} Size */
/** @typedef {{ x: number, y: number }} Position */
/** @typedef {{ top: number, right: number, bottom: number, left: number }} Insets */

const MAX_SCALE = 40;

export class View {
  scale = 1;
  x = 0;
  y = 0;
  /** @type {Size} */
  #image = { width: 1, height: 1 };
  /** @type {Size} */
  #stage = { width: 1, height: 1 };
  /** @type {Insets} */
  #insets = { top: 0, right: 0, bottom: 0, left: 0 };
  #fitted = true;

  /** @param {Size} image */
  show(image) {
    this.#image = image;
    this.fit();
  }

  /**
   * @param {Size} stage
   * @param {Insets} insets kept free around the image when it is fitted
   */
  resize(stage, insets) {
    const [dx, dy] = [(stage.width - this.#stage.width) / 2, (stage.height - this.#stage.height) / 2];
    this.#stage = stage;
    this.#insets = insets;
    if (this.#fitted) this.fit();
    else this.panBy(dx, dy);
  }

  /** Show the whole image as large as possible. */
  fit() {
    const { top, right, bottom, left } = this.#insets;
    const [width, height] = [this.#stage.width - left - right, this.#stage.height - top - bottom];
    const fitting = Math.min(width / this.#image.width, height / this.#image.height);
    // Small images are enlarged to a limit beyond which they are only squares.
    this.scale = Math.max(0.001, Math.min(fitting, 8));
    this.x = left + (width - this.#image.width * this.scale) / 2;
    this.y = top + (height - this.#image.height * this.scale) / 2;
    this.#fitted = true;
  }

  /**
   * @param {number} factor
   * @param {Position} [at] the position that does not move; by default the centre of the stage
   */
  zoom(factor, at = { x: this.#stage.width / 2, y: this.#stage.height / 2 }) {
    const scale = Math.min(MAX_SCALE, Math.max(this.#minScale(), this.scale * factor));
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#fitted = false;
    this.#keepVisible();
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#fitted = false;
    this.#keepVisible();
  }

  /**
   * Pan as little as needed to make a position of the image visible.
   *
   * @param {Position} position
   */
  reveal(position) {
    const { x, y } = this.toScreen(position);
    const margin = 40;
    const dx = Math.max(margin - x, Math.min(0, this.#stage.width - margin - x));
    const dy = Math.max(margin - y, Math.min(0, this.#stage.height - margin - y));
    if (dx || dy) this.panBy(dx, dy);
  }

  /**
   * @param {Position} position on the screen
   * @returns {Position}
   */
  toImage(position) {
    return { x: (position.x - this.x) / this.scale, y: (position.y - this.y) / this.scale };
  }

  /**
   * @param {Position} position in the image
   * @returns {Position}
   */
  toScreen(position) {
    return { x: position.x * this.scale + this.x, y: position.y * this.scale + this.y };
  }

  #minScale() {
    const { width, height } = this.#stage;
    return Math.min(1, 0.4 * Math.min(width / this.#image.width, height / this.#image.height));
  }

  #keepVisible() {
    // CSS pixels of the image that stay visible.
    const margin = 60;
    const { width, height } = this.#stage;
    const [imageWidth, imageHeight] = [this.#image.width * this.scale, this.#image.height * this.scale];
    this.x = Math.min(width - margin, Math.max(margin - imageWidth, this.x));
    this.y = Math.min(height - margin, Math.max(margin - imageHeight, this.y));
  }
}
