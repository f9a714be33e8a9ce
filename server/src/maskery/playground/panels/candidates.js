/** Other readings of the selected thing: the whole, a part, a part of that. The one that is picked is started from. */

import { isAbort } from '../api/errors.js';
import { byId, make } from '../dom.js';
import { colourOf } from '../mask/colours.js';
import { sampled } from '../mask/rle.js';
import { toFields } from '../state/fields.js';
import { selectedThing } from '../state/prompt.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../state/prompt.js').Rle} Rle */
/** @typedef {import('../state/prompt.js').Thing} Thing */

const READINGS = 3;
const LONGEST_SIDE = 220;
/** Milliseconds in which further clicks may come. */
const PAUSE = 200;

export class Readings {
  #store;
  #session;
  #panel = byId('readings', HTMLDetailsElement);
  #said = byId('readings-said', HTMLElement);
  #choices = byId('readings-choices', HTMLElement);
  #abort = new AbortController();
  #shownFor = '';
  #timer = 0;

  /**
   * @param {Store} store
   * @param {Session} session
   */
  constructor(store, session) {
    this.#store = store;
    this.#session = session;
    this.#panel.addEventListener('toggle', () => this.#refresh());
    store.subscribe((state, before) => {
      if (state.answer !== before.answer || state.history !== before.history || state.model !== before.model) {
        this.#refresh();
      }
    });
  }

  #refresh() {
    const thing = selectedThing(this.#store.prompt);
    // What was picked is one of the readings of what was asked without it.
    const asked = thing && toFields([{ ...thing, start: null }]);
    const wanted = JSON.stringify([this.#store.state.model, thing?.id, asked?.fields]);
    if (!this.#panel.open) {
      this.#shownFor = '';
      return;
    }
    if (wanted === this.#shownFor) {
      if (thing) this.#mark(thing);
      return;
    }
    this.#shownFor = wanted;
    this.#abort.abort();
    this.#abort = new AbortController();
    clearTimeout(this.#timer);
    this.#choices.replaceChildren();
    if (!thing || !asked) {
      this.#say('A click can mean a thing or a part of it. Click on something first.');
      return;
    }
    this.#say('Asking for other readings …');
    const signal = this.#abort.signal;
    this.#timer = setTimeout(() => void this.#load(thing, asked.fields, signal), PAUSE);
  }

  /**
   * @param {Thing} thing
   * @param {import('../state/fields.js').PromptFields} fields
   * @param {AbortSignal} signal
   */
  async #load(thing, fields, signal) {
    try {
      const options = /** @type {const} */ ({ n: READINGS, response_format: 'rle' });
      const answered = await this.#session.segment(fields, options, 'Asking for other readings', signal);
      if (signal.aborted) return;
      const found = distinct(answered.data.flatMap((mask) => mask.segments.slice(0, 1)));
      this.#choices.replaceChildren(...found.map((each, place) => this.#choice(thing.id, place, each)));
      this.#say(found.length > 1 ? 'Pick the one that you mean.' : 'The model sees only this one.');
      const now = selectedThing(this.#store.prompt);
      if (now) this.#mark(now);
    } catch (error) {
      if (isAbort(error)) return;
      this.#shownFor = '';
      this.#say('No other readings could be had.');
      this.#session.fail(error);
    }
  }

  /**
   * @param {number} id
   * @param {number} place
   * @param {{ rle: Rle, score: number }} reading
   */
  #choice(id, place, { rle, score }) {
    const canvas = this.#thumbnail(id, rle);
    const label = make('span', { class: 'reading-score' }, score.toFixed(2));
    const button = make('button', { class: 'reading', type: 'button', 'aria-pressed': 'false' }, canvas, label);
    button.setAttribute('aria-label', `Reading ${place + 1}, score ${score.toFixed(2)}`);
    button.dataset.counts = rle.counts;
    button.addEventListener('click', () => {
      const picked = this.#store.prompt.things.find((thing) => thing.id === id)?.start?.counts === rle.counts;
      this.#store.ask({ type: 'start', id, start: picked ? null : rle });
    });
    return button;
  }

  /**
   * @param {number} id
   * @param {Rle} rle
   */
  #thumbnail(id, rle) {
    const canvas = make('canvas', { 'aria-hidden': 'true' });
    const { picture } = this.#store.state;
    const context = canvas.getContext('2d');
    if (!picture || !context) return canvas;
    const scale = LONGEST_SIDE / Math.max(picture.width, picture.height);
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    const inside = sampled(rle, canvas.width, canvas.height);
    const veil = new ImageData(canvas.width, canvas.height);
    const [red, green, blue] = colourOf(id);
    inside.forEach((yes, at) => veil.data.set(yes ? [red, green, blue, 90] : [12, 12, 14, 165], 4 * at));
    const layer = new OffscreenCanvas(canvas.width, canvas.height);
    layer.getContext('2d')?.putImageData(veil, 0, 0);
    context.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height);
    context.drawImage(layer, 0, 0);
    return canvas;
  }

  /** @param {Thing} thing */
  #mark(thing) {
    for (const button of this.#choices.querySelectorAll('button')) {
      button.setAttribute('aria-pressed', String(button.dataset.counts === thing.start?.counts));
    }
  }

  /** @param {string} text */
  #say(text) {
    this.#said.textContent = text;
  }
}

/**
 * @param {import('../api/client.js').Segment[]} segments
 * @returns {{ rle: Rle, score: number }[]}
 */
function distinct(segments) {
  /** @type {Map<string, { rle: Rle, score: number }>} */
  const found = new Map();
  for (const { rle, score, area } of segments) {
    if (rle && area && !found.has(rle.counts)) found.set(rle.counts, { rle, score });
  }
  return [...found.values()];
}
