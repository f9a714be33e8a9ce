/** Draws the image, the masks and the prompts whenever the state or the view changes. */

import { byId } from '../dom.js';
import { cssColour } from '../mask/colours.js';
import { colourIdOf } from '../state/labels.js';
import { selectedObject } from '../state/prompt.js';
import { ImageLayer } from './image-layer.js';
import { drawFlat, drawOverlay, onMask, visibleShapes } from './draw.js';
import { drawBox, drawCrosshair, drawPrompt, pixelCentre } from './marks.js';
import { OverlayCache } from './overlay-cache.js';
import { View } from './view.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/prompt.js').Box} Box */
/** @typedef {import('./view.js').Position} Position */
/** @typedef {import('./draw.js').Area} Area */

/** Milliseconds without a change of the view before it is drawn at full quality. */
const SETTLE_DELAY = 120;

export class Stage {
  view = new View();
  /** @type {Box | null} the box that is being drawn */
  draft = null;
  /** @type {Position | null} in the image; null unless the keyboard is used */
  crosshair = null;

  #canvas;
  #context;
  #store;
  #imageLayer = new ImageLayer(byId('image-layer', HTMLCanvasElement), () => this.invalidate());
  #overlayCache = new OverlayCache();
  #pulse = byId('pulse', HTMLElement);
  #frame = 0;
  #settleTimer = 0;
  #moving = false;
  #isNewMask = false;
  /** @type {((context: CanvasRenderingContext2D) => void)[]} */
  #layers = [];

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Store} store
   */
  constructor(canvas, store) {
    const context = canvas.getContext('2d');
    if (!context) throw new Error('The browser does not support canvas.');
    this.#canvas = canvas;
    this.#context = context;
    this.#store = store;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.#imageLayer.repaint();
      this.invalidate();
    });
    store.subscribe((state, before) => {
      if (state.image !== before.image) {
        this.crosshair = null;
        this.draft = null;
        if (state.image) this.view.show(state.image);
        this.#imageLayer.show(state.image);
        before.image?.bitmap.close();
      }
      this.#isNewMask ||= state.segmentation !== before.segmentation;
      this.invalidate();
    });
  }

  /**
   * Add something that is drawn above the image, in CSS pixels of the stage.
   *
   * @param {(context: CanvasRenderingContext2D) => void} draw
   */
  addLayer(draw) {
    this.#layers.push(draw);
  }

  /** Redraw at the next frame. */
  invalidate() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  /** Redraw after a change of the view: fast at first, and at full quality once the view has settled. */
  viewChanged() {
    this.#moving = true;
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(() => {
      this.#moving = false;
      this.invalidate();
    }, SETTLE_DELAY);
    this.invalidate();
  }

  /**
   * The pixel of the image at a position of the stage; the nearest one if the position is outside the image.
   *
   * @param {Position} position in CSS pixels
   */
  pixelAt(position) {
    const { image } = this.#store.state;
    const { x, y } = this.view.toImage(position);
    const [width, height] = [image?.width ?? 1, image?.height ?? 1];
    const inside = x >= 0 && y >= 0 && x < width && y < height;
    return {
      x: Math.min(width - 1, Math.max(0, Math.floor(x))),
      y: Math.min(height - 1, Math.max(0, Math.floor(y))),
      inside,
    };
  }

  /** @returns {Position} in CSS pixels */
  get centre() {
    return { x: this.#canvas.clientWidth / 2, y: this.#canvas.clientHeight / 2 };
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    this.#canvas.width = Math.max(1, Math.round(width * devicePixelRatio));
    this.#canvas.height = Math.max(1, Math.round(height * devicePixelRatio));
    this.#imageLayer.resize(this.#canvas.width, this.#canvas.height);
    // Space for the controls above and below the image.
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
    if (!state.image) return;
    const area = this.#imageArea(state.image, ratio);
    this.#imageLayer.draw(state, area, ratio, this.#moving);
    this.#drawMasks(area, ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (state.viewMode === 'overlay') this.#drawPrompts();
    for (const draw of this.#layers) draw(context);
    if (this.draft) drawBox(context, this.view, this.draft, '#fff', true);
    if (this.crosshair) {
      drawCrosshair(context, this.view, this.crosshair, state.tool === 'exclude' || state.tool === 'erase' ? 'exclude' : 'include');
    }
    this.#positionPulse();
    // For tests and benchmarks: the position of the image, and the time at which a mask was painted.
    this.#canvas.dataset.view = `${this.view.scale} ${this.view.x} ${this.view.y}`;
    if (this.#isNewMask) performance.mark('mask-painted');
    this.#isNewMask = false;
  }

  /**
   * @param {Area} area
   * @param {number} ratio
   */
  #drawMasks(area, ratio) {
    const { segmentation, history, labels, viewMode } = this.#store.state;
    if (!segmentation) return;
    const shapes = visibleShapes(segmentation, history.present.objects, labels);
    const { selected } = history.present;
    if (viewMode === 'overlay') {
      const others = shapes.filter(({ id }) => id !== selected);
      this.#overlayCache.draw(this.#context, segmentation, area, others, ratio);
    }
    onMask(this.#context, segmentation, area, (unit) => {
      if (viewMode === 'mask') drawFlat(this.#context, shapes);
      const emphasised = shapes.filter(({ id }) => id === selected);
      if (viewMode === 'overlay') drawOverlay(this.#context, emphasised, unit * ratio, selected);
    });
  }

  #drawPrompts() {
    const { objects, selected } = this.#store.prompt;
    const visible = objects.filter((object) => !object.hidden);
    // The selected object is drawn last, on top.
    visible.sort((one, other) => Number(one.id === selected) - Number(other.id === selected));
    for (const object of visible) {
      const colour = cssColour(colourIdOf(this.#store.state.labels, object));
      drawPrompt(this.#context, this.view, object, colour, object.id === selected);
    }
  }

  /** Move the animated ring to the last point. The style sheet shows it only when a request takes long. */
  #positionPulse() {
    const point = selectedObject(this.#store.prompt)?.points.at(-1);
    this.#pulse.hidden = !this.#store.state.busy || !point;
    if (!point) return;
    const { x, y } = pixelCentre(this.view, point);
    this.#pulse.style.left = `${x}px`;
    this.#pulse.style.top = `${y}px`;
  }

  /**
   * The image's area on the canvas, in whole device pixels so that its edges are sharp.
   *
   * @param {import('./view.js').Size} image
   * @param {number} ratio
   * @returns {Area}
   */
  #imageArea(image, ratio) {
    const { x: left, y: top, scale } = this.view;
    const [x, y] = [Math.round(left * ratio), Math.round(top * ratio)];
    const right = Math.round((left + image.width * scale) * ratio);
    const bottom = Math.round((top + image.height * scale) * ratio);
    return { x, y, width: Math.max(1, right - x), height: Math.max(1, bottom - y) };
  }
}
