/** Everything on the stage without a mouse: a crosshair that is moved by arrow keys and acts like a pointer. */

import { announce } from '../dom.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/prompt.js').Box} Box */
/** @typedef {import('./stage.js').Stage} Stage */
/** @typedef {import('./view.js').Place} Place */

/** CSS pixels of a step. */
const STEP = 16;
const QUIET = 400;

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Crosshair {
  #stage;
  #store;
  /** @type {Place | null} */
  #corner = null;
  #timer = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Stage} stage
   * @param {Store} store
   */
  constructor(canvas, stage, store) {
    this.#stage = stage;
    this.#store = store;
    canvas.addEventListener('keydown', (event) => this.#press(event));
    canvas.addEventListener('blur', () => this.#hide());
    store.subscribe((state, before) => {
      if (state.tool !== before.tool || state.picture !== before.picture) this.abandon();
    });
  }

  /** A box that has begun is given up; whether there was one. */
  abandon() {
    if (!this.#corner) return false;
    this.#corner = null;
    this.#stage.draft = null;
    this.#stage.invalidate();
    return true;
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (!this.#store.state.picture || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && event.altKey) {
      this.#stage.view.panBy(-arrow[0] * STEP * 4, -arrow[1] * STEP * 4);
      this.#stage.moved();
    } else if (arrow) this.#move(arrow, event.shiftKey);
    else if (event.key === 'Enter') this.#act(event.shiftKey);
    else return;
    event.preventDefault();
  }

  /**
   * @param {[number, number]} direction
   * @param {boolean} fine by a single pixel of the picture
   */
  #move([dx, dy], fine) {
    const { view } = this.#stage;
    const place = this.#place();
    const step = fine ? 1 : Math.max(1, Math.round(STEP / view.scale));
    this.#set({ x: place.x + dx * step, y: place.y + dy * step });
  }

  /** @param {boolean} other than what the tool does */
  #act(other) {
    if (!this.#stage.crosshair) {
      this.#set(this.#place());
      return;
    }
    const { tool } = this.#store.state;
    const { x, y } = this.#stage.crosshair;
    if (tool === 'move') return;
    // What is done is said now, and its answer soon: neither shall be talked over by the place.
    clearTimeout(this.#timer);
    if (tool !== 'box') {
      const on = (tool === 'include') !== other;
      this.#store.ask({ type: 'point', x, y, on });
      announce(`Point ${on ? 'on' : 'not on'} the object at ${x}, ${y}.`);
    } else if (this.#corner) {
      const box = this.#box(this.#corner, { x, y });
      this.abandon();
      this.#store.ask({ type: 'box', box });
      announce('Box drawn.');
    } else {
      this.#corner = { x, y };
      this.#stage.draft = this.#box(this.#corner, this.#corner);
      announce('First corner set. Move, and press Enter for the second.');
    }
    this.#stage.invalidate();
  }

  /** @param {Place} place */
  #set({ x, y }) {
    const { picture } = this.#store.state;
    const place = {
      x: Math.min((picture?.width ?? 1) - 1, Math.max(0, x)),
      y: Math.min((picture?.height ?? 1) - 1, Math.max(0, y)),
    };
    this.#stage.crosshair = place;
    this.#stage.view.reveal(place);
    if (this.#corner) this.#stage.draft = this.#box(this.#corner, place);
    this.#stage.moved();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => announce(this.#described(place)), QUIET);
  }

  /** @returns {Place} where it is, or would be */
  #place() {
    if (this.#stage.crosshair) return this.#stage.crosshair;
    const { x, y } = this.#stage.pixelAt(this.#stage.centre);
    return { x, y };
  }

  #hide() {
    clearTimeout(this.#timer);
    this.abandon();
    this.#stage.crosshair = null;
    this.#stage.invalidate();
  }

  /**
   * Both corners' pixels included.
   *
   * @param {Place} one
   * @param {Place} other
   * @returns {Box}
   */
  #box(one, other) {
    const [left, top] = [Math.min(one.x, other.x), Math.min(one.y, other.y)];
    return [left, top, Math.max(one.x, other.x) + 1, Math.max(one.y, other.y) + 1];
  }

  /** @param {Place} place */
  #described(place) {
    const { picture, answer, history } = this.#store.state;
    let on = '';
    if (picture && answer) {
      const { width, height, values } = answer.mask;
      const column = Math.floor((place.x * width) / picture.width);
      const row = Math.floor((place.y * height) / picture.height);
      const id = answer.ids[(values[row * width + column] ?? 0) - 1];
      const thing = history.present.things.find((each) => each.id === id);
      if (thing) on = `, on ${thing.name}`;
    }
    return `${place.x}, ${place.y}${on}`;
  }
}
