/** Which part of the picture is seen, and how large. Screen coordinates are CSS pixels of the stage. */

/** @typedef {{ width: number, height: number }} Size */
/** @typedef {{ x: number, y: number }} Place */
/** @typedef {{ top: number, right: number, bottom: number, left: number }} Insets */

const LARGEST = 40;

export class View {
  scale = 1;
  x = 0;
  y = 0;
  /** @type {Size} */
  #picture = { width: 1, height: 1 };
  /** @type {Size} */
  #stage = { width: 1, height: 1 };
  /** @type {Insets} */
  #insets = { top: 0, right: 0, bottom: 0, left: 0 };
  #fitted = true;

  /** @param {Size} picture */
  show(picture) {
    this.#picture = picture;
    this.fit();
  }

  /**
   * @param {Size} stage
   * @param {Insets} insets kept free around a picture that is shown as a whole
   */
  resize(stage, insets) {
    const [dx, dy] = [(stage.width - this.#stage.width) / 2, (stage.height - this.#stage.height) / 2];
    this.#stage = stage;
    this.#insets = insets;
    if (this.#fitted) this.fit();
    else this.panBy(dx, dy);
  }

  /** Whether the whole picture is seen, as large as it can be. */
  get fitted() {
    return this.#fitted;
  }

  fit() {
    const { top, right, bottom, left } = this.#insets;
    const [width, height] = [this.#stage.width - left - right, this.#stage.height - top - bottom];
    const fitting = Math.min(width / this.#picture.width, height / this.#picture.height);
    // Small pictures are enlarged, but not to mere squares.
    this.scale = Math.max(0.001, Math.min(fitting, 8));
    this.x = left + (width - this.#picture.width * this.scale) / 2;
    this.y = top + (height - this.#picture.height * this.scale) / 2;
    this.#fitted = true;
  }

  /**
   * @param {number} factor
   * @param {Place} [at] what stays where it is on the screen; the middle of the stage
   */
  zoom(factor, at = { x: this.#stage.width / 2, y: this.#stage.height / 2 }) {
    const smallest = this.#smallest();
    const scale = Math.min(LARGEST, Math.max(smallest, this.scale * factor));
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#fitted = false;
    this.#keepInSight();
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#fitted = false;
    this.#keepInSight();
  }

  /**
   * Moves the view just so far that a place of the picture is seen.
   *
   * @param {Place} place
   */
  reveal(place) {
    const { x, y } = this.toScreen(place);
    const margin = 40;
    const dx = Math.max(margin - x, Math.min(0, this.#stage.width - margin - x));
    const dy = Math.max(margin - y, Math.min(0, this.#stage.height - margin - y));
    if (dx || dy) this.panBy(dx, dy);
  }

  /**
   * @param {Place} place on the screen
   * @returns {Place}
   */
  toPicture(place) {
    return { x: (place.x - this.x) / this.scale, y: (place.y - this.y) / this.scale };
  }

  /**
   * @param {Place} place in the picture
   * @returns {Place}
   */
  toScreen(place) {
    return { x: place.x * this.scale + this.x, y: place.y * this.scale + this.y };
  }

  #smallest() {
    const { width, height } = this.#stage;
    return Math.min(1, 0.4 * Math.min(width / this.#picture.width, height / this.#picture.height));
  }

  #keepInSight() {
    const seen = 60;
    const { width, height } = this.#stage;
    const [wide, high] = [this.#picture.width * this.scale, this.#picture.height * this.scale];
    this.x = Math.min(width - seen, Math.max(seen - wide, this.x));
    this.y = Math.min(height - seen, Math.max(seen - high, this.y));
  }
}
