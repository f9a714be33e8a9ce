/** Strokes that add to the mask of the selected object or remove from it. */

import { paintStroke } from '../mask/bitmap.js';
import { strokeVisibly } from './marks.js';

/** @typedef {import('../session/mask-editor.js').MaskEditor} MaskEditor */
/** @typedef {import('./stage.js').Stage} Stage */
/** @typedef {import('./view.js').Position} Position */

/** Diameters of the brush, in CSS pixels. */
export const MIN_BRUSH = 2;
export const MAX_BRUSH = 200;
const STEP = 1.25;

/** @typedef {{ path: Position[], radius: number, erase: boolean }} Stroke in pixels of the image */

export class Brush {
  /** In CSS pixels, so that a stroke is finer when the image is enlarged. */
  diameter = 24;
  /** @type {Position | null} of the pointer, on the stage; null if the brush is not used */
  hover = null;
  /** Called when the diameter has been changed. */
  onResize = () => {};
  #stage;
  #editor;
  /** @type {Stroke | null} the one that is being drawn */
  #stroke = null;
  /** @type {Stroke[]} drawn, and not yet part of the mask */
  #pending = [];

  /**
   * @param {Stage} stage
   * @param {MaskEditor} editor
   */
  constructor(stage, editor) {
    this.#stage = stage;
    this.#editor = editor;
    stage.addLayer((context) => this.#draw(context));
  }

  /** Whether a stroke is being drawn. */
  get isDown() {
    return this.#stroke !== null;
  }

  /** @param {1 | -1} direction */
  resize(direction) {
    this.diameter = Math.round(Math.min(MAX_BRUSH, Math.max(MIN_BRUSH, this.diameter * STEP ** direction)));
    this.onResize();
    this.#stage.invalidate();
  }

  /**
   * @param {Position} position in the image
   * @param {boolean} erase
   */
  start(position, erase) {
    this.#stroke = { path: [position], radius: this.diameter / 2 / this.#stage.view.scale, erase };
    this.#stage.invalidate();
  }

  /** @param {Position} position in the image */
  move(position) {
    this.#stroke?.path.push(position);
    this.#stage.invalidate();
  }

  /** Make the stroke a part of the mask. */
  end() {
    const stroke = this.#stroke;
    this.#stroke = null;
    if (!stroke) return;
    this.#pending.push(stroke);
    const { path, radius, erase } = stroke;
    void this.#editor.edit((bitmap) => paintStroke(bitmap, path, radius, erase ? 0 : 1)).then(() => {
      this.#pending = this.#pending.filter((each) => each !== stroke);
      this.#stage.invalidate();
    });
  }

  /** Returns whether there was a stroke to cancel. */
  cancel() {
    const stroke = this.#stroke;
    this.#stroke = null;
    this.#stage.invalidate();
    return stroke !== null;
  }

  /** @param {CanvasRenderingContext2D} context */
  #draw(context) {
    const { view } = this.#stage;
    const strokes = this.#stroke ? [...this.#pending, this.#stroke] : this.#pending;
    for (const { path, radius, erase } of strokes) {
      context.beginPath();
      path.forEach((position, index) => {
        const { x, y } = view.toScreen(position);
        if (index === 0) context.moveTo(x, y);
        // A stroke of one point is a dot.
        context.lineTo(x, y);
      });
      context.lineCap = context.lineJoin = 'round';
      context.lineWidth = Math.max(1, 2 * radius * view.scale);
      context.strokeStyle = erase ? 'rgb(0 0 0 / 0.55)' : 'rgb(255 255 255 / 0.65)';
      context.stroke();
    }
    if (!this.hover) return;
    context.beginPath();
    context.arc(this.hover.x, this.hover.y, this.diameter / 2, 0, 2 * Math.PI);
    strokeVisibly(context, 1.25);
  }
}
