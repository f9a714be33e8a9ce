/** Tells the person what is being waited for. */

import { Unreachable } from '../api/errors.js';

/** @typedef {import('../api/errors.js').ApiError} ApiError */
/** @typedef {import('../state/store.js').Store} Store */

/**
 * @typedef {object} Task
 * @property {(share: number) => void} progress 0 to 1
 * @property {(text: string) => void} rename
 * @property {(error: ApiError | Unreachable, seconds: number) => void} waiting before another try
 * @property {() => void} end
 */

export class Reporter {
  #store;
  #again;
  /** @type {import('../state/store.js').Busy[]} */
  #running = [];

  /**
   * @param {Store} store
   * @param {() => void} again ends the waiting
   */
  constructor(store, again) {
    this.#store = store;
    this.#again = again;
  }

  /**
   * @param {string} text
   * @returns {Task}
   */
  begin(text) {
    let busy = { text, share: /** @type {number | null} */ (null), since: performance.now() };
    let waited = false;
    this.#running.push(busy);
    this.#show();
    /** @param {Partial<typeof busy>} change */
    const replace = (change) => {
      const place = this.#running.indexOf(busy);
      if (place < 0) return;
      busy = { ...busy, ...change };
      this.#running[place] = busy;
      this.#show();
    };
    return {
      progress: (share) => replace({ share }),
      rename: (name) => replace({ text: name, share: null, since: performance.now() }),
      waiting: (error, seconds) => {
        waited = true;
        this.#store.dispatch({ type: 'notice', notice: this.#waiting(error, seconds) });
      },
      end: () => {
        this.#running = this.#running.filter((other) => other !== busy);
        this.#show();
        if (waited && this.#store.state.notice?.kind === 'waiting') {
          this.#store.dispatch({ type: 'notice', notice: null });
        }
      },
    };
  }

  #show() {
    this.#store.dispatch({ type: 'busy', busy: this.#running.at(-1) ?? null });
  }

  /**
   * @param {ApiError | Unreachable} error
   * @param {number} seconds
   * @returns {import('../state/store.js').Notice}
   */
  #waiting(error, seconds) {
    const when = seconds < 1 ? 'in a moment' : `in ${Math.round(seconds)} s`;
    const away = error instanceof Unreachable;
    return {
      kind: 'waiting',
      title: away ? 'The server does not answer.' : 'One moment.',
      text: away
        ? `Is maskery serve still running? It is asked again ${when}; nothing is lost.`
        : `${error.message} It is asked again ${when}.`,
      action: { label: 'Ask now', run: this.#again },
    };
  }
}
