/** Suggestions after a click whose mask is probably not what the user means. */

import { announce, byId } from '../dom.js';
import { selectedObject } from '../state/prompt.js';

/** @typedef {import('../mask/segmentation.js').Result} Result */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */
/** @typedef {import('../state/prompt.js').Point} Point */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../state/store.js').Store} Store */

/** @typedef {{ text: string, label: string, run: () => void }} Suggestion */

/** Scores below which a mask is probably wrong. */
const LOW_SCORE = 0.53;
/** How far from the mask a point is probably on another object, as a fraction of the mask's size. */
const FAR = 0.25;

export class Guidance {
  #store;
  #bar = byId('guidance', HTMLElement);
  #text = byId('guidance-text', HTMLElement);
  #button = byId('guidance-action', HTMLButtonElement);
  /** @type {() => void} */
  #run = () => {};
  /** @type {{ id: number, before: Result | undefined } | null} the object that got a point, and its mask before that */
  #clicked = null;

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    this.#button.addEventListener('click', () => {
      this.#show(null);
      this.#run();
    });
    byId('guidance-close', HTMLButtonElement).addEventListener('click', () => this.#show(null));
    store.subscribe((state, before) => {
      if (state.image !== before.image) this.#clicked = null;
      if (state.history !== before.history) this.#noteClick(state, before);
      if (state.history !== before.history || state.image !== before.image || state.tool !== before.tool) this.#show(null);
      if (state.segmentation !== before.segmentation && this.#clicked) this.#show(this.#suggest(state));
    });
  }

  /**
   * @param {State} state
   * @param {State} before
   */
  #noteClick(state, before) {
    const object = selectedObject(state.history.present);
    const earlier = before.history.present.objects.find((each) => each.id === object?.id);
    const hasNewPoint = object && object.points.length > (earlier?.points.length ?? 0);
    const isChange = state.history.past.length > before.history.past.length;
    this.#clicked = hasNewPoint && isChange ? { id: object.id, before: before.segmentation?.results.get(object.id) } : null;
  }

  /**
   * @param {State} state
   * @returns {Suggestion | null}
   */
  #suggest(state) {
    const object = state.history.present.objects.find((each) => each.id === this.#clicked?.id);
    const result = object && state.segmentation?.results.get(object.id);
    const before = this.#clicked?.before;
    this.#clicked = null;
    if (!object || !result || result.score === null || !state.image || !state.segmentation) return null;
    const point = object.points.at(-1);
    const scale = state.segmentation.mask.width / state.image.width;
    const isFar = before?.bbox && point?.positive && isOutside(point, before.bbox, scale);
    if (isFar && result.score < Math.max(LOW_SCORE, before.score ?? 0)) {
      const run = () => this.#store.edit({ type: 'split', id: object.id });
      return { text: 'Is the last point on another object?', label: 'Make it a new object', run };
    }
    if (result.score >= LOW_SCORE || object.box) return null;
    const run = () => {
      this.#store.dispatch({ type: 'tool', tool: 'box' });
      announce('Draw a box around the object.');
    };
    return { text: 'The model is not sure about this mask. A box around the object helps.', label: 'Draw a box', run };
  }

  /** @param {Suggestion | null} suggestion */
  #show(suggestion) {
    this.#bar.hidden = !suggestion;
    if (!suggestion) return;
    this.#text.textContent = suggestion.text;
    this.#button.textContent = suggestion.label;
    this.#run = suggestion.run;
  }
}

/**
 * Whether a point is far outside of a bounding box.
 *
 * @param {Point} point in pixels of the image
 * @param {[number, number, number, number]} bbox x, y, width, height in pixels of the mask
 * @param {number} scale pixels of the mask per pixel of the image
 */
function isOutside(point, [left, top, width, height], scale) {
  const [x, y] = [point.x * scale, point.y * scale];
  const [marginX, marginY] = [FAR * width, FAR * height];
  return x < left - marginX || x > left + width + marginX || y < top - marginY || y > top + height + marginY;
}
