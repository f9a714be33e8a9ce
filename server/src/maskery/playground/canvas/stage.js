/** What is seen of the picture, of what was found in it and of what was asked. Drawn when something has changed. */

import { byId } from '../dom.js';
import { selectedThing } from '../state/prompt.js';
import { Backdrop } from './backdrop.js';
import { drawFlat, drawOverlay, onMask, shownShapes } from './draw.js';
import { drawBox, drawCrosshair, drawThing, middle } from './marks.js';
import { View } from './view.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/prompt.js').Box} Box */
/** @typedef {import('./view.js').Place} Place */
/** @typedef {import('./draw.js').Area} Area */

/** Milliseconds after which a view that was moved rests. */
const REST = 120;

export class Stage {
  view = new View();
  /** @type {Box | null} being drawn */
  draft = null;
  /** @type {Place | null} in the picture; null while nobody uses the keyboard */
  crosshair = null;

  #canvas;
  #context;
  #store;
  #backdrop = new Backdrop(byId('backdrop', HTMLCanvasElement), () => this.invalidate());
  #pulse = byId('pulse', HTMLElement);
  #frame = 0;
  #settling = 0;
  #moving = false;
  #answered = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Store} store
   */
  constructor(canvas, store) {
    const context = canvas.getContext('2d');
    if (!context) throw new Error('This browser cannot draw.');
    this.#canvas = canvas;
    this.#context = context;
    this.#store = store;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.#backdrop.repaint();
      this.invalidate();
    });
    store.subscribe((state, before) => {
      if (state.picture !== before.picture && state.picture) {
        this.crosshair = null;
        this.draft = null;
        this.view.show(state.picture);
        this.#backdrop.show(state.picture);
        before.picture?.bitmap.close();
      }
      this.#answered ||= state.answer !== before.answer;
      this.invalidate();
    });
  }

  /** Draw at the next frame. */
  invalidate() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  /** The view has been moved by hand: quick drawing first, fine drawing once it rests. */
  moved() {
    this.#moving = true;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#moving = false;
      this.invalidate();
    }, REST);
    this.invalidate();
  }

  /**
   * The picture's pixel at a place of the screen, the nearest one where that is outside.
   *
   * @param {Place} screen CSS pixels of the stage
   */
  pixelAt(screen) {
    const { picture } = this.#store.state;
    const { x, y } = this.view.toPicture(screen);
    const [width, height] = [picture?.width ?? 1, picture?.height ?? 1];
    const inside = x >= 0 && y >= 0 && x < width && y < height;
    return {
      x: Math.min(width - 1, Math.max(0, Math.floor(x))),
      y: Math.min(height - 1, Math.max(0, Math.floor(y))),
      inside,
    };
  }

  /** @returns {Place} the middle of the stage, in CSS pixels */
  get centre() {
    return { x: this.#canvas.clientWidth / 2, y: this.#canvas.clientHeight / 2 };
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    this.#canvas.width = Math.max(1, Math.round(width * devicePixelRatio));
    this.#canvas.height = Math.max(1, Math.round(height * devicePixelRatio));
    this.#backdrop.resize(this.#canvas.width, this.#canvas.height);
    // Kept free for what floats above the picture.
    const side = width < 600 ? 8 : 28;
    const bars = width < 600 ? { top: 56, bottom: 8 } : { top: 68, bottom: 96 };
    this.view.resize({ width, height }, { ...bars, left: side, right: side });
    this.#draw();
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const context = this.#context;
    const ratio = devicePixelRatio;
    const { state } = this.#store;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (!state.picture) return;
    const area = this.#pictureArea(state.picture, ratio);
    this.#backdrop.draw(state, area, ratio, this.#moving);
    this.#drawFound(area, ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (state.look === 'overlay') this.#drawAsked();
    if (this.draft) drawBox(context, this.view, this.draft, '#fff', true);
    if (this.crosshair) {
      drawCrosshair(context, this.view, this.crosshair, state.tool === 'exclude' ? 'exclude' : 'include');
    }
    this.#placePulse();
    // For programs that drive the page: where the picture lies, and when a mask has been painted.
    this.#canvas.dataset.view = `${this.view.scale} ${this.view.x} ${this.view.y}`;
    if (this.#answered) performance.mark('mask-painted');
    this.#answered = false;
  }

  /**
   * @param {Area} area
   * @param {number} ratio
   */
  #drawFound(area, ratio) {
    const { answer, history, look } = this.#store.state;
    const shown = shownShapes(answer, history.present.things);
    if (!answer) return;
    onMask(this.#context, answer, area, (unit) => {
      if (look === 'mask') drawFlat(this.#context, shown);
      if (look === 'overlay') drawOverlay(this.#context, shown, unit * ratio, history.present.selected);
    });
  }

  #drawAsked() {
    const { things, selected } = this.#store.prompt;
    const seen = things.filter((thing) => !thing.hidden);
    // The selected one lies on top.
    seen.sort((one, other) => Number(one.id === selected) - Number(other.id === selected));
    for (const thing of seen) drawThing(this.#context, this.view, thing, thing.id === selected);
  }

  /** The style sheet lets it beat once an answer takes its time. */
  #placePulse() {
    const point = selectedThing(this.#store.prompt)?.points.at(-1);
    this.#pulse.hidden = !this.#store.state.busy || !point;
    if (!point) return;
    const { x, y } = middle(this.view, point);
    this.#pulse.style.left = `${x}px`;
    this.#pulse.style.top = `${y}px`;
  }

  /**
   * Of the canvas, in whole pixels of the device, along which nothing is blurred.
   *
   * @param {import('./view.js').Size} picture
   * @param {number} ratio
   * @returns {Area}
   */
  #pictureArea(picture, ratio) {
    const { x: left, y: top, scale } = this.view;
    const [x, y] = [Math.round(left * ratio), Math.round(top * ratio)];
    const right = Math.round((left + picture.width * scale) * ratio);
    const bottom = Math.round((top + picture.height * scale) * ratio);
    return { x, y, width: Math.max(1, right - x), height: Math.max(1, bottom - y) };
  }
}
