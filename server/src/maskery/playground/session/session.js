/** Keeps what is shown in step with what is asked for. */

import { ApiError, isAbort } from '../api/errors.js';
import { hurry, persistently } from '../api/retry.js';
import { readAnswer } from '../mask/answer.js';
import { openPicture } from '../picture/picture.js';
import { toFields } from '../state/fields.js';
import { explain } from './explain.js';
import { Preparations } from './preparations.js';
import { Reporter } from './reporter.js';

/** @typedef {import('../api/client.js').Client} Client */
/** @typedef {import('../api/client.js').Segmentation} Segmentation */
/** @typedef {import('../state/fields.js').PromptFields} PromptFields */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../mask/answer.js').Answer} Answer */

/** @typedef {{ size?: string, n?: number, response_format?: 'rle' | 'polygons' }} Options */

/** Pixels of the mask that is asked for while clicking; what is taken away has all of them. */
const SHOWN = 1_500_000;

/** Answers that are kept, so that undo and redo show theirs at once. */
const KEPT = 24;

/** Preferred in this order where the server has them. */
const DEFAULTS = ['maskery/nano', 'maskery/grabcut'];

export class Session {
  #store;
  #client;
  #askKey;
  #choose;
  #report;
  /** @type {Preparations | null} */
  #preparations = null;
  /** @type {Map<string, Answer>} by what was asked */
  #answers = new Map();
  #sequence = 0;
  #opening = 0;
  #abort = new AbortController();
  #wanted = '';

  /**
   * @param {Store} store
   * @param {Client} client
   * @param {{ askKey: (why: string) => void, choose: () => void }} person whose help may be needed
   */
  constructor(store, client, { askKey, choose }) {
    this.#store = store;
    this.#client = client;
    this.#askKey = askKey;
    this.#choose = choose;
    this.#report = new Reporter(store, hurry);
    store.subscribe((state, before) => {
      if (state.model !== before.model) this.#prepareAhead();
      this.#follow(state);
    });
  }

  /** Get to know the server. */
  async connect() {
    const task = this.#report.begin('Asking for the models');
    const signal = new AbortController().signal;
    try {
      const models = await persistently(() => this.#client.models(), signal, task.waiting);
      const { model } = this.#store.state;
      const preferred = [model, ...DEFAULTS, ...models].find((name) => models.includes(name)) ?? '';
      this.#store.dispatch({ type: 'models', models, model: preferred });
      const limits = await persistently(() => this.#client.limits(), signal, task.waiting);
      this.#store.dispatch({ type: 'limits', mostThings: Math.min(limits.max_objects, 255) });
    } catch (error) {
      this.#fail(error);
    } finally {
      task.end();
    }
  }

  /**
   * @param {Blob | Promise<Blob>} file
   * @param {string} name
   */
  async open(file, name) {
    const turn = (this.#opening += 1);
    const task = this.#report.begin('Opening the picture');
    try {
      const picture = await openPicture(await file, name);
      if (turn !== this.#opening) return;
      this.#preparations?.close();
      this.#preparations = new Preparations(this.#client, picture, this.#report);
      this.#answers.clear();
      this.#wanted = '';
      this.#store.dispatch({ type: 'picture', picture });
      this.#prepareAhead();
    } catch (error) {
      this.#fail(error);
    } finally {
      task.end();
    }
  }

  /** Try again what has failed. */
  again() {
    this.#wanted = '';
    this.#store.dispatch({ type: 'notice', notice: null });
    if (!this.#store.state.model) {
      void this.connect();
      return;
    }
    this.#prepareAhead();
    this.#follow(this.#store.state);
  }

  /**
   * An answer for the things as they are now, or for others; the picture is sent again where the server has
   * forgotten it, and a busy server is asked until it answers.
   *
   * @param {PromptFields} fields
   * @param {Options} options
   * @param {string} text of what is waited for
   * @param {AbortSignal} signal
   */
  async segment(fields, options, text, signal) {
    const preparations = this.#preparations;
    const { model } = this.#store.state;
    if (!preparations || !model) throw new Error('There is no picture yet.');
    const prepare = () => abortable(preparations.get(model), signal);
    let prepared = await prepare();
    const task = this.#report.begin(text);
    try {
      for (let forgotten = 0; ; forgotten += 1) {
        const request = { model, image_prompt: `id:${prepared.id}`, ...fields, ...options };
        try {
          return await persistently(() => this.#client.segment(request, signal), signal, task.waiting);
        } catch (error) {
          if (!(error instanceof ApiError && error.code === 'image_not_prepared') || forgotten > 2) throw error;
          await preparations.drop(model, prepared);
          prepared = await prepare();
        }
      }
    } finally {
      task.end();
    }
  }

  /** Whether the answer that is shown is that of the prompt as it is now. */
  get isCurrent() {
    return this.#answers.get(this.#wanted) === this.#store.state.answer;
  }

  /** @param {unknown} error that came of what a person wanted */
  fail(error) {
    this.#fail(error);
  }

  #prepareAhead() {
    const { model } = this.#store.state;
    if (model) this.#preparations?.get(model).catch((error) => this.#fail(error));
  }

  /** @param {State} state */
  #follow(state) {
    const { picture, model } = state;
    if (!picture || !model) return;
    const asked = toFields(state.history.present.things);
    const wanted = JSON.stringify([model, asked?.things.map((thing) => thing.id), asked?.fields]);
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#sequence += 1;
    this.#abort.abort();
    const known = this.#answers.get(wanted);
    if (!asked || known) {
      this.#store.dispatch({ type: 'answer', answer: known ?? null });
      return;
    }
    this.#abort = new AbortController();
    const ids = asked.things.map((thing) => thing.id);
    void this.#answer(this.#sequence, wanted, asked.fields, ids, this.#abort.signal);
  }

  /**
   * @param {number} sequence a later one makes this answer stale
   * @param {string} wanted
   * @param {PromptFields} fields
   * @param {number[]} ids
   * @param {AbortSignal} signal
   */
  async #answer(sequence, wanted, fields, ids, signal) {
    try {
      const answered = await this.segment(fields, this.#shownSize(), 'Cutting out', signal);
      const [data] = answered.data;
      if (!data) throw new Error('The server answered no mask.');
      const answer = await readAnswer(data, ids);
      if (sequence !== this.#sequence) return;
      this.#keep(wanted, answer);
      if (this.#store.state.notice) this.#store.dispatch({ type: 'notice', notice: null });
      this.#store.dispatch({ type: 'answer', answer });
    } catch (error) {
      if (sequence === this.#sequence) this.#fail(error);
    }
  }

  /** @returns {Options} */
  #shownSize() {
    const picture = this.#store.state.picture;
    const share = picture ? Math.sqrt(SHOWN / (picture.width * picture.height)) : 1;
    if (!picture || share >= 1) return {};
    const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * share)));
    return { size: `${width}x${height}` };
  }

  /**
   * @param {string} wanted
   * @param {Answer} answer
   */
  #keep(wanted, answer) {
    this.#answers.set(wanted, answer);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= KEPT) break;
      this.#answers.delete(oldest);
    }
  }

  /** @param {unknown} error */
  #fail(error) {
    if (isAbort(error)) return;
    if (error instanceof ApiError && error.status === 401) {
      this.#askKey(error.message);
      return;
    }
    const notice = explain(error, { again: () => this.again(), choose: this.#choose });
    this.#store.dispatch({ type: 'notice', notice });
  }
}

/**
 * The promise's value, unless nobody wants it any more; what it waits for goes on.
 *
 * @template Value
 * @param {Promise<Value>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<Value>}
 */
function abortable(promise, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new DOMException('No longer wanted.', 'AbortError'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject);
  });
}
