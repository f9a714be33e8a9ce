/** Mouse, pen and fingers on the stage: click, drag, pinch, wheel. */

import { middle } from './marks.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/prompt.js').Box} Box */
/** @typedef {import('./stage.js').Stage} Stage */
/** @typedef {import('./view.js').Place} Place */

/**
 * @typedef {{ kind: 'press', start: Place, exclude: boolean, remove: boolean, held: Held | null }
 *   | { kind: 'box', start: Place }
 *   | { kind: 'point', held: Held }
 *   | { kind: 'pan', last: Place }
 *   | { kind: 'pinch' }
 *   | { kind: 'none' }} Gesture
 */
/** @typedef {{ id: number, index: number }} Held a point */

const SLACK_MOUSE = 4;
const SLACK_TOUCH = 10;
const REACH = 12;

export class Pointer {
  #canvas;
  #stage;
  #store;
  /** @type {Map<number, Place>} */
  #fingers = new Map();
  /** @type {Gesture} */
  #gesture = { kind: 'none' };
  #space = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Stage} stage
   * @param {Store} store
   */
  constructor(canvas, stage, store) {
    this.#canvas = canvas;
    this.#stage = stage;
    this.#store = store;
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    canvas.addEventListener('pointerup', (event) => this.#up(event));
    canvas.addEventListener('pointercancel', (event) => this.#cancel(event));
    canvas.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('keydown', (event) => this.#hold(event, true));
    canvas.addEventListener('keyup', (event) => this.#hold(event, false));
  }

  /** A box or a drag that has begun is given up. */
  abandon() {
    if (this.#gesture.kind === 'none') return false;
    this.#gesture = { kind: 'none' };
    this.#stage.draft = null;
    this.#stage.invalidate();
    return true;
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (!this.#store.state.picture) return;
    this.#stage.crosshair = null;
    const place = this.#place(event);
    this.#canvas.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, place);
    if (this.#fingers.size === 2) {
      this.abandon();
      this.#gesture = { kind: 'pinch' };
      return;
    }
    if (this.#fingers.size > 2) return;
    const { tool } = this.#store.state;
    if (tool === 'move' || this.#space || event.button === 1) {
      event.preventDefault();
      this.#gesture = { kind: 'pan', last: place };
      this.#canvas.classList.add('is-panning');
      return;
    }
    if (event.button !== 0 && event.button !== 2) return;
    const exclude = (tool === 'exclude') !== (event.shiftKey || event.button === 2);
    this.#gesture = { kind: 'press', start: place, exclude, remove: event.altKey, held: this.#heldAt(place) };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const place = this.#place(event);
    const before = this.#fingers.get(event.pointerId);
    if (!before) {
      this.#canvas.classList.toggle('is-over-point', this.#heldAt(place) !== null);
      return;
    }
    const others = [...this.#fingers].filter(([id]) => id !== event.pointerId);
    this.#fingers.set(event.pointerId, place);
    const gesture = this.#gesture;
    if (gesture.kind === 'pinch') {
      const other = others[0]?.[1];
      if (other) this.#pinch(before, place, other);
    } else if (gesture.kind === 'pan') {
      this.#stage.view.panBy(place.x - gesture.last.x, place.y - gesture.last.y);
      gesture.last = place;
      this.#stage.moved();
    } else if (gesture.kind === 'press') {
      const slack = event.pointerType === 'mouse' ? SLACK_MOUSE : SLACK_TOUCH;
      if (distance(gesture.start, place) > slack) {
        this.#gesture = gesture.held
          ? { kind: 'point', held: gesture.held }
          : { kind: 'box', start: gesture.start };
      }
    }
    if (this.#gesture.kind === 'box') {
      this.#stage.draft = this.#box(this.#gesture.start, place);
      this.#stage.invalidate();
    }
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const place = this.#place(event);
    this.#fingers.delete(event.pointerId);
    this.#canvas.classList.remove('is-panning');
    if (this.#fingers.size) return;
    const gesture = this.#gesture;
    this.#gesture = { kind: 'none' };
    this.#stage.draft = null;
    if (gesture.kind === 'press') this.#click(gesture);
    else if (gesture.kind === 'box') {
      const box = this.#box(gesture.start, place);
      if (box) this.#store.ask({ type: 'box', box });
    } else if (gesture.kind === 'point') {
      const { x, y } = this.#stage.pixelAt(place);
      this.#store.ask({ type: 'move-point', ...gesture.held, x, y });
    }
    this.#stage.invalidate();
  }

  /** @param {PointerEvent} event */
  #cancel(event) {
    this.#fingers.delete(event.pointerId);
    this.abandon();
  }

  /** @param {Extract<Gesture, { kind: 'press' }>} press */
  #click({ start, exclude, remove, held }) {
    if (remove) {
      if (held) this.#store.ask({ type: 'remove-point', ...held });
      return;
    }
    if (this.#store.state.tool === 'box') return;
    const { x, y, inside } = this.#stage.pixelAt(start);
    if (inside) this.#store.ask({ type: 'point', x, y, on: !exclude });
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    if (!this.#store.state.picture) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 18 : 1;
    const [dx, dy] = [event.deltaX * lines, event.deltaY * lines];
    if (!event.ctrlKey && (event.shiftKey || Math.abs(dx) > Math.abs(dy))) {
      this.#stage.view.panBy(-(dx || dy), 0);
    } else {
      // A pinch on a touch pad comes as a wheel with Ctrl, in small steps.
      const speed = event.ctrlKey && Math.abs(dy) < 50 ? 0.01 : 0.0015;
      this.#stage.view.zoom(Math.exp(-dy * speed), this.#place(event));
    }
    this.#stage.moved();
  }

  /**
   * @param {Place} before
   * @param {Place} now
   * @param {Place} other finger
   */
  #pinch(before, now, other) {
    const view = this.#stage.view;
    const centre = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    view.panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
    view.zoom(Math.max(1, distance(now, other)) / Math.max(1, distance(before, other)), centre);
    this.#stage.moved();
  }

  /**
   * The box between two places of the screen, along the edges of pixels; null where it has no area.
   *
   * @param {Place} one
   * @param {Place} other
   * @returns {Box | null}
   */
  #box(one, other) {
    const { picture } = this.#store.state;
    if (!picture) return null;
    const corners = [one, other].map((place) => this.#stage.view.toPicture(place));
    const xs = corners.map(({ x }) => Math.min(picture.width, Math.max(0, Math.round(x))));
    const ys = corners.map(({ y }) => Math.min(picture.height, Math.max(0, Math.round(y))));
    /** @type {Box} */
    const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    return box[0] < box[2] && box[1] < box[3] ? box : null;
  }

  /**
   * The point of a thing under the pointer; those of the selected one first.
   *
   * @param {Place} place
   * @returns {Held | null}
   */
  #heldAt(place) {
    const { things, selected } = this.#store.prompt;
    const near = things
      .filter((thing) => !thing.hidden && thing.id === selected)
      .flatMap((thing) => thing.points.map((point, index) => ({ id: thing.id, index, point })))
      .map((each) => ({ ...each, distance: distance(middle(this.#stage.view, each.point), place) }))
      .filter((each) => each.distance <= REACH)
      .sort((one, other) => one.distance - other.distance)[0];
    return near ? { id: near.id, index: near.index } : null;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {boolean} down
   */
  #hold(event, down) {
    if (event.key !== ' ') return;
    event.preventDefault();
    this.#space = down;
    this.#canvas.classList.toggle('can-pan', down);
  }

  /** @param {MouseEvent} event @returns {Place} */
  #place(event) {
    return { x: event.offsetX, y: event.offsetY };
  }
}

/**
 * @param {Place} one
 * @param {Place} other
 */
function distance(one, other) {
  return Math.hypot(one.x - other.x, one.y - other.y);
}
