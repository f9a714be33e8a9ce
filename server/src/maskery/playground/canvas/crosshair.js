/** Keyboard input on the canvas: arrow keys move a crosshair, which acts like a pointer. */

import { announce } from '../dom.js';
import { nameOf } from '../state/labels.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/prompt.js').Box} Box */
/** @typedef {import('./brush.js').Brush} Brush */
/** @typedef {import('./polygon.js').PolygonTool} PolygonTool */
/** @typedef {import('./stage.js').Stage} Stage */
/** @typedef {import('./view.js').Position} Position */

/** CSS pixels that an arrow key moves the crosshair. */
const STEP = 16;
/** Milliseconds without a move before the position is announced. */
const ANNOUNCE_DELAY = 400;

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Crosshair {
  #stage;
  #store;
  #brush;
  #polygon;
  /** @type {Position | null} the first corner of a box */
  #corner = null;
  #timer = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Stage} stage
   * @param {Store} store
   * @param {{ brush: Brush, polygon: PolygonTool }} tools
   */
  constructor(canvas, stage, store, { brush, polygon }) {
    this.#stage = stage;
    this.#store = store;
    this.#brush = brush;
    this.#polygon = polygon;
    canvas.addEventListener('keydown', (event) => this.#onKey(event));
    canvas.addEventListener('blur', () => this.#hide());
    store.subscribe((state, before) => {
      if (state.tool !== before.tool || state.image !== before.image) this.cancel();
    });
  }

  /** Cancel what is being drawn. Returns whether there was something. */
  cancel() {
    const hadTool = this.#brush.cancel() || this.#polygon.cancel();
    if (!this.#corner) return hadTool;
    this.#corner = null;
    this.#stage.draft = null;
    this.#stage.invalidate();
    return true;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (!this.#store.state.image || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && event.altKey) {
      this.#stage.view.panBy(-arrow[0] * STEP * 4, -arrow[1] * STEP * 4);
      this.#stage.viewChanged();
    } else if (arrow) this.#move(arrow, event.shiftKey);
    else if (event.key === 'Enter') this.#act(event.shiftKey);
    else return;
    event.preventDefault();
  }

  /**
   * @param {[number, number]} direction
   * @param {boolean} fine by one pixel of the image
   */
  #move([dx, dy], fine) {
    const { view } = this.#stage;
    const position = this.#position();
    const step = fine ? 1 : Math.max(1, Math.round(STEP / view.scale));
    this.#set({ x: position.x + dx * step, y: position.y + dy * step });
  }

  /** @param {boolean} inverted whether Include and Exclude are swapped */
  #act(inverted) {
    if (!this.#stage.crosshair) {
      this.#set(this.#position());
      return;
    }
    const { tool } = this.#store.state;
    const { x, y } = this.#stage.crosshair;
    if (tool === 'move') return;
    const centre = { x: x + 0.5, y: y + 0.5 };
    // The announcement of the position would interrupt those of the action and its result.
    clearTimeout(this.#timer);
    if (tool === 'brush' || tool === 'erase') this.#paint(centre, (tool === 'erase') !== inverted);
    else if (tool === 'polygon') this.#setCorner(centre, inverted);
    else if (tool !== 'box') {
      const positive = (tool === 'include') !== inverted;
      this.#store.edit({ type: 'point', x, y, positive });
      announce(`${positive ? 'Point' : 'Negative point'} added at ${x}, ${y}.`);
    } else if (this.#corner) {
      const box = this.#box(this.#corner, { x, y });
      this.cancel();
      this.#store.edit({ type: 'box', box });
      announce('Box drawn.');
    } else {
      this.#corner = { x, y };
      this.#stage.draft = this.#box(this.#corner, this.#corner);
      announce('First corner set. Move the crosshair and press Enter to set the second.');
    }
    this.#stage.invalidate();
  }

  /**
   * Put the brush down, or lift it.
   *
   * @param {Position} position
   * @param {boolean} erase
   */
  #paint(position, erase) {
    if (this.#brush.isDown) {
      this.#brush.end();
      announce('Brush lifted.');
    } else {
      this.#brush.start(position, erase);
      announce('Brush down. Move the crosshair to paint, and press Enter to lift it.');
    }
  }

  /**
   * Take hold of a corner, leave it, or add one.
   *
   * @param {Position} position
   * @param {boolean} closes whether the polygon is closed
   */
  #setCorner(position, closes) {
    if (this.#polygon.isHolding) {
      this.#polygon.release();
      announce('Corner moved.');
    } else if (closes) this.#polygon.close();
    else if (this.#polygon.grab(position)) announce('Corner held. Move the crosshair and press Enter to leave it.');
    else {
      this.#polygon.click(position, false);
      announce('Corner set. Shift+Enter closes the polygon.');
    }
  }

  /** @param {Position} position */
  #set({ x, y }) {
    const { image } = this.#store.state;
    const position = {
      x: Math.min((image?.width ?? 1) - 1, Math.max(0, x)),
      y: Math.min((image?.height ?? 1) - 1, Math.max(0, y)),
    };
    this.#stage.crosshair = position;
    this.#stage.view.reveal(position);
    if (this.#corner) this.#stage.draft = this.#box(this.#corner, position);
    const centre = { x: position.x + 0.5, y: position.y + 0.5 };
    if (this.#brush.isDown) this.#brush.move(centre);
    this.#polygon.move(centre);
    this.#stage.viewChanged();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => announce(this.#describe(position)), ANNOUNCE_DELAY);
  }

  /** @returns {Position} the crosshair's position, at first the centre of the stage */
  #position() {
    if (this.#stage.crosshair) return this.#stage.crosshair;
    const { x, y } = this.#stage.pixelAt(this.#stage.centre);
    return { x, y };
  }

  #hide() {
    clearTimeout(this.#timer);
    this.cancel();
    this.#stage.crosshair = null;
    this.#stage.invalidate();
  }

  /**
   * The box that includes the pixels of both corners.
   *
   * @param {Position} one
   * @param {Position} other
   * @returns {Box}
   */
  #box(one, other) {
    const [left, top] = [Math.min(one.x, other.x), Math.min(one.y, other.y)];
    return [left, top, Math.max(one.x, other.x) + 1, Math.max(one.y, other.y) + 1];
  }

  /** @param {Position} position */
  #describe(position) {
    const { image, segmentation, history, labels } = this.#store.state;
    let on = '';
    if (image && segmentation) {
      const { width, height, values } = segmentation.mask;
      const column = Math.floor((position.x * width) / image.width);
      const row = Math.floor((position.y * height) / image.height);
      const id = segmentation.ids[(values[row * width + column] ?? 0) - 1];
      const object = history.present.objects.find((each) => each.id === id);
      if (object) on = `, on ${nameOf(labels, object)}`;
    }
    return `${position.x}, ${position.y}${on}`;
  }
}
