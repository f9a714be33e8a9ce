/** The candidates of the selected object: what else its prompt may mean, such as a part of it or a larger object. */

import { isAbort } from '../api/errors.js';
import { byId, createElement } from '../dom.js';
import { colourOf } from '../mask/colours.js';
import { sampled } from '../mask/rle.js';
import { colourIdOf } from '../state/labels.js';
import { toFields } from '../state/fields.js';
import { selectedObject } from '../state/prompt.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../state/prompt.js').Rle} Rle */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */

const MAX_CANDIDATES = 3;
const THUMBNAIL_SIDE = 220;
/** Milliseconds without a further change before candidates are requested. */
const DELAY = 200;

export class Candidates {
  #store;
  #session;
  #panel = byId('candidates', HTMLDetailsElement);
  #hint = byId('candidates-hint', HTMLElement);
  #list = byId('candidates-list', HTMLElement);
  #abort = new AbortController();
  #requested = '';
  #timer = 0;

  /**
   * @param {Store} store
   * @param {Session} session
   */
  constructor(store, session) {
    this.#store = store;
    this.#session = session;
    this.#panel.addEventListener('toggle', () => this.#update());
    store.subscribe((state, before) => {
      const { segmentation, history, model } = before;
      if (state.segmentation !== segmentation || state.history !== history || state.model !== model) this.#update();
    });
  }

  #update() {
    const object = selectedObject(this.#store.prompt);
    // The selected candidate is one of those of the prompt without it.
    const prompt = object && toFields([{ ...object, maskPrompt: null }]);
    const requested = JSON.stringify([this.#store.state.model, object?.id, prompt?.fields]);
    if (!this.#panel.open) {
      this.#requested = '';
      return;
    }
    if (requested === this.#requested) {
      if (object) this.#markSelected(object);
      return;
    }
    this.#requested = requested;
    this.#abort.abort();
    this.#abort = new AbortController();
    clearTimeout(this.#timer);
    this.#list.replaceChildren();
    if (!object || !prompt) {
      this.#hint.textContent = 'A click can mean an object or a part of it. Click on an object first.';
      return;
    }
    this.#hint.textContent = 'Loading …';
    const signal = this.#abort.signal;
    this.#timer = setTimeout(() => void this.#load(object, prompt.fields, signal), DELAY);
  }

  /**
   * @param {ObjectPrompt} object
   * @param {import('../state/fields.js').PromptFields} fields
   * @param {AbortSignal} signal
   */
  async #load(object, fields, signal) {
    try {
      const options = /** @type {const} */ ({ n: MAX_CANDIDATES, response_format: 'rle' });
      const response = await this.#session.segment(fields, options, 'Loading candidates', signal);
      if (signal.aborted) return;
      const candidates = distinct(response.data.flatMap((mask) => mask.segments.slice(0, 1)));
      this.#list.replaceChildren(...candidates.map((each, index) => this.#createButton(object.id, index, each)));
      this.#hint.textContent =
        candidates.length > 1 ? 'Select the mask that you mean.' : 'The model has only one candidate for this prompt.';
      const selected = selectedObject(this.#store.prompt);
      if (selected) this.#markSelected(selected);
    } catch (error) {
      if (isAbort(error)) return;
      this.#requested = '';
      this.#hint.textContent = 'The candidates could not be loaded.';
      this.#session.fail(error);
    }
  }

  /**
   * @param {number} id of the object
   * @param {number} index
   * @param {{ rle: Rle, score: number }} candidate
   */
  #createButton(id, index, { rle, score }) {
    const thumbnail = this.#drawThumbnail(id, rle);
    const label = createElement('span', { class: 'candidate-score' }, score.toFixed(2));
    const attributes = { class: 'candidate', type: 'button', 'aria-pressed': 'false' };
    const button = createElement('button', attributes, thumbnail, label);
    button.setAttribute('aria-label', `Candidate ${index + 1}, score ${score.toFixed(2)}`);
    button.dataset.counts = rle.counts;
    button.addEventListener('click', () => {
      const current = this.#store.prompt.objects.find((object) => object.id === id)?.maskPrompt;
      this.#store.edit({ type: 'mask-prompt', id, maskPrompt: current?.counts === rle.counts ? null : rle });
    });
    return button;
  }

  /**
   * @param {number} id of the object
   * @param {Rle} rle
   */
  #drawThumbnail(id, rle) {
    const canvas = createElement('canvas', { 'aria-hidden': 'true' });
    const { image } = this.#store.state;
    const context = canvas.getContext('2d');
    if (!image || !context) return canvas;
    const scale = THUMBNAIL_SIDE / Math.max(image.width, image.height);
    canvas.width = Math.max(1, Math.round(image.width * scale));
    canvas.height = Math.max(1, Math.round(image.height * scale));
    const mask = sampled(rle, canvas.width, canvas.height);
    const tint = new ImageData(canvas.width, canvas.height);
    const object = this.#store.prompt.objects.find((each) => each.id === id);
    const [red, green, blue] = colourOf(object ? colourIdOf(this.#store.state.labels, object) : id);
    mask.forEach((inside, index) => tint.data.set(inside ? [red, green, blue, 90] : [12, 12, 14, 165], 4 * index));
    const layer = new OffscreenCanvas(canvas.width, canvas.height);
    layer.getContext('2d')?.putImageData(tint, 0, 0);
    context.drawImage(image.bitmap, 0, 0, canvas.width, canvas.height);
    context.drawImage(layer, 0, 0);
    return canvas;
  }

  /** @param {ObjectPrompt} object */
  #markSelected(object) {
    for (const button of this.#list.querySelectorAll('button')) {
      button.setAttribute('aria-pressed', String(button.dataset.counts === object.maskPrompt?.counts));
    }
  }
}

/**
 * The candidates that are not empty, each once.
 *
 * @param {import('../api/client.js').Segment[]} segments
 * @returns {{ rle: Rle, score: number }[]}
 */
function distinct(segments) {
  /** @type {Map<string, { rle: Rle, score: number }>} */
  const candidates = new Map();
  for (const { rle, score, area } of segments) {
    if (rle && area && !candidates.has(rle.counts)) candidates.set(rle.counts, { rle, score });
  }
  return [...candidates.values()];
}
