/** Mouse, pen and touch input on the canvas: click, drag, pinch, wheel. */

import { pixelCentre } from './marks.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/prompt.js').Box} Box */
/** @typedef {import('./brush.js').Brush} Brush */
/** @typedef {import('./polygon.js').PolygonTool} PolygonTool */
/** @typedef {import('./stage.js').Stage} Stage */
/** @typedef {import('./view.js').Position} Position */

/**
 * @typedef {{ kind: 'press', start: Position, exclude: boolean, remove: boolean, held: Held | null }
 *   | { kind: 'box', start: Position }
 *   | { kind: 'point', held: Held }
 *   | { kind: 'stroke' }
 *   | { kind: 'corner' }
 *   | { kind: 'click', start: Position, exclude: boolean, remove: boolean }
 *   | { kind: 'pan', last: Position }
 *   | { kind: 'pinch' }
 *   | { kind: 'none' }} Gesture
 */
/** @typedef {{ id: number, index: number }} Held the point under the pointer: id of its object, and its index */

/** CSS pixels that a pointer may move in a click. */
const SLACK_MOUSE = 4;
const SLACK_TOUCH = 10;
/** CSS pixels within which the pointer is on a point. */
const REACH = 12;

export class Pointer {
  #canvas;
  #stage;
  #store;
  #brush;
  #polygon;
  /** @type {Map<number, Position>} */
  #pointers = new Map();
  /** @type {Gesture} */
  #gesture = { kind: 'none' };
  #space = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Stage} stage
   * @param {Store} store
   * @param {{ brush: Brush, polygon: PolygonTool }} tools
   */
  constructor(canvas, stage, store, { brush, polygon }) {
    this.#canvas = canvas;
    this.#stage = stage;
    this.#store = store;
    this.#brush = brush;
    this.#polygon = polygon;
    canvas.addEventListener('pointerdown', (event) => this.#onDown(event));
    canvas.addEventListener('pointermove', (event) => this.#onMove(event));
    canvas.addEventListener('pointerup', (event) => this.#onUp(event));
    canvas.addEventListener('pointercancel', (event) => this.#onCancel(event));
    canvas.addEventListener('pointerleave', () => this.#hover(null));
    canvas.addEventListener('dblclick', () => store.state.tool === 'polygon' && polygon.close());
    canvas.addEventListener('wheel', (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('keydown', (event) => this.#onSpace(event, true));
    canvas.addEventListener('keyup', (event) => this.#onSpace(event, false));
  }

  /** Cancel the current gesture. Returns whether there was one. */
  cancel() {
    const hadTool = this.#brush.cancel() || this.#polygon.cancel();
    if (this.#gesture.kind === 'none') return hadTool;
    this.#gesture = { kind: 'none' };
    this.#stage.draft = null;
    this.#stage.invalidate();
    return true;
  }

  /** @param {PointerEvent} event */
  #onDown(event) {
    if (!this.#store.state.image) return;
    this.#stage.crosshair = null;
    const position = this.#position(event);
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, position);
    if (this.#pointers.size === 2) {
      this.cancel();
      this.#gesture = { kind: 'pinch' };
      return;
    }
    if (this.#pointers.size > 2) return;
    const { tool } = this.#store.state;
    if (tool === 'move' || this.#space || event.button === 1) {
      event.preventDefault();
      this.#gesture = { kind: 'pan', last: position };
      this.#canvas.classList.add('is-panning');
      return;
    }
    if (event.button !== 0 && event.button !== 2) return;
    const inverted = event.shiftKey || event.button === 2;
    if (tool === 'brush' || tool === 'erase') {
      this.#brush.start(this.#stage.view.toImage(position), (tool === 'erase') !== inverted);
      this.#gesture = { kind: 'stroke' };
      return;
    }
    if (tool === 'polygon') {
      const isHeld = !event.altKey && this.#polygon.grab(this.#stage.view.toImage(position));
      this.#gesture = isHeld
        ? { kind: 'corner' }
        : { kind: 'click', start: position, exclude: inverted, remove: event.altKey };
      return;
    }
    const exclude = (tool === 'exclude') !== inverted;
    this.#gesture = { kind: 'press', start: position, exclude, remove: event.altKey, held: this.#heldAt(position) };
  }

  /** @param {PointerEvent} event */
  #onMove(event) {
    const position = this.#position(event);
    const before = this.#pointers.get(event.pointerId);
    this.#hover(event.pointerType === 'touch' ? null : position);
    if (!before) {
      const { tool } = this.#store.state;
      const isOverPoint =
        tool === 'polygon'
          ? this.#polygon.isOnCorner(this.#stage.view.toImage(position))
          : isPrompting(tool) && this.#heldAt(position) !== null;
      this.#canvas.classList.toggle('is-over-point', isOverPoint);
      this.#polygon.move(this.#stage.view.toImage(position));
      return;
    }
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    this.#pointers.set(event.pointerId, position);
    const gesture = this.#gesture;
    if (gesture.kind === 'pinch') {
      const other = others[0]?.[1];
      if (other) this.#pinch(before, position, other);
    } else if (gesture.kind === 'pan') {
      this.#stage.view.panBy(position.x - gesture.last.x, position.y - gesture.last.y);
      gesture.last = position;
      this.#stage.viewChanged();
    } else if (gesture.kind === 'stroke') {
      // Fast movements have several positions per event.
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) {
        this.#brush.move(this.#stage.view.toImage(this.#position(each)));
      }
    } else if (gesture.kind === 'corner') {
      this.#polygon.move(this.#stage.view.toImage(position));
    } else if (gesture.kind === 'press') {
      const slack = event.pointerType === 'mouse' ? SLACK_MOUSE : SLACK_TOUCH;
      if (distance(gesture.start, position) > slack) {
        this.#gesture = gesture.held
          ? { kind: 'point', held: gesture.held }
          : { kind: 'box', start: gesture.start };
      }
    }
    if (this.#gesture.kind === 'box') {
      this.#stage.draft = this.#box(this.#gesture.start, position);
      this.#stage.invalidate();
    }
  }

  /** @param {PointerEvent} event */
  #onUp(event) {
    const position = this.#position(event);
    this.#pointers.delete(event.pointerId);
    this.#canvas.classList.remove('is-panning');
    if (this.#pointers.size) return;
    const gesture = this.#gesture;
    this.#gesture = { kind: 'none' };
    this.#stage.draft = null;
    if (gesture.kind === 'press') this.#click(gesture);
    else if (gesture.kind === 'stroke') this.#brush.end();
    else if (gesture.kind === 'corner') this.#polygon.release();
    else if (gesture.kind === 'click') {
      const start = this.#stage.view.toImage(gesture.start);
      if (!gesture.remove) this.#polygon.click(start, gesture.exclude);
      else this.#polygon.remove(start);
    }
    if (gesture.kind === 'box') {
      const box = this.#box(gesture.start, position);
      if (box) this.#store.edit({ type: 'box', box });
    } else if (gesture.kind === 'point') {
      const { x, y } = this.#stage.pixelAt(position);
      this.#store.edit({ type: 'move-point', ...gesture.held, x, y });
    }
    this.#stage.invalidate();
  }

  /** @param {PointerEvent} event */
  #onCancel(event) {
    this.#pointers.delete(event.pointerId);
    this.cancel();
  }

  /** @param {Extract<Gesture, { kind: 'press' }>} press */
  #click({ start, exclude, remove, held }) {
    if (remove) {
      if (held) this.#store.edit({ type: 'remove-point', ...held });
      return;
    }
    if (this.#store.state.tool === 'box') return;
    const { x, y, inside } = this.#stage.pixelAt(start);
    if (inside) this.#store.edit({ type: 'point', x, y, positive: !exclude });
  }

  /** @param {Position | null} position of a mouse or pen */
  #hover(position) {
    const { tool, image } = this.#store.state;
    const hover = image && (tool === 'brush' || tool === 'erase') ? position : null;
    if (hover || this.#brush.hover) this.#stage.invalidate();
    this.#brush.hover = hover;
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    if (!this.#store.state.image) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 18 : 1;
    const [dx, dy] = [event.deltaX * lines, event.deltaY * lines];
    if (!event.ctrlKey && (event.shiftKey || Math.abs(dx) > Math.abs(dy))) {
      this.#stage.view.panBy(-(dx || dy), 0);
    } else {
      // Browsers report a pinch on a touch pad as a wheel with Ctrl and small steps.
      const speed = event.ctrlKey && Math.abs(dy) < 50 ? 0.01 : 0.0015;
      this.#stage.view.zoom(Math.exp(-dy * speed), this.#position(event));
    }
    this.#stage.viewChanged();
  }

  /**
   * @param {Position} before
   * @param {Position} now
   * @param {Position} other pointer
   */
  #pinch(before, now, other) {
    const view = this.#stage.view;
    const centre = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    view.panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
    view.zoom(Math.max(1, distance(now, other)) / Math.max(1, distance(before, other)), centre);
    this.#stage.viewChanged();
  }

  /**
   * The box between two positions, with its sides between pixels; null if it has no area.
   *
   * @param {Position} one
   * @param {Position} other
   * @returns {Box | null}
   */
  #box(one, other) {
    const { image } = this.#store.state;
    if (!image) return null;
    const corners = [one, other].map((position) => this.#stage.view.toImage(position));
    const xs = corners.map(({ x }) => Math.min(image.width, Math.max(0, Math.round(x))));
    const ys = corners.map(({ y }) => Math.min(image.height, Math.max(0, Math.round(y))));
    /** @type {Box} */
    const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    return box[0] < box[2] && box[1] < box[3] ? box : null;
  }

  /**
   * The nearest point of the selected object within reach.
   *
   * @param {Position} position
   * @returns {Held | null}
   */
  #heldAt(position) {
    const { objects, selected } = this.#store.prompt;
    const nearest = objects
      .filter((object) => !object.hidden && object.id === selected)
      .flatMap((object) => object.points.map((point, index) => ({ id: object.id, index, point })))
      .map((each) => ({ ...each, distance: distance(pixelCentre(this.#stage.view, each.point), position) }))
      .filter((each) => each.distance <= REACH)
      .sort((one, other) => one.distance - other.distance)[0];
    return nearest ? { id: nearest.id, index: nearest.index } : null;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {boolean} down whether the key is held
   */
  #onSpace(event, down) {
    if (event.key !== ' ') return;
    event.preventDefault();
    this.#space = down;
    this.#canvas.classList.toggle('can-pan', down);
  }

  /** @param {MouseEvent} event @returns {Position} */
  #position(event) {
    return { x: event.offsetX, y: event.offsetY };
  }
}

/**
 * Whether a tool adds to the prompt.
 *
 * @param {import('../state/store.js').Tool} tool
 */
function isPrompting(tool) {
  return tool === 'include' || tool === 'exclude' || tool === 'box';
}

/**
 * @param {Position} one
 * @param {Position} other
 */
function distance(one, other) {
  return Math.hypot(one.x - other.x, one.y - other.y);
}
