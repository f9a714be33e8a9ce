/** Reports what the page waits for. */

import { ServerUnreachable } from '../api/errors.js';

/** @typedef {import('../api/errors.js').ApiError} ApiError */
/** @typedef {import('../state/store.js').Store} Store */

/**
 * @typedef {object} Task
 * @property {(fraction: number) => void} update how much is done, 0 to 1
 * @property {(text: string) => void} rename
 * @property {(error: ApiError | ServerUnreachable, seconds: number) => void} onRetry
 * @property {() => void} end
 */

/** @type {Task} of an operation that the user does not wait for */
export const SILENT = { update() {}, rename() {}, onRetry() {}, end() {} };

export class ProgressReporter {
  #store;
  #retryNow;
  /** @type {import('../state/store.js').Busy[]} */
  #running = [];

  /**
   * @param {Store} store
   * @param {() => void} retryNow ends the delay before a retry
   */
  constructor(store, retryNow) {
    this.#store = store;
    this.#retryNow = retryNow;
  }

  /**
   * @param {string} text
   * @returns {Task}
   */
  begin(text) {
    let busy = { text, fraction: /** @type {number | null} */ (null), since: performance.now() };
    let retried = false;
    this.#running.push(busy);
    this.#show();
    /** @param {Partial<typeof busy>} change */
    const replace = (change) => {
      const index = this.#running.indexOf(busy);
      if (index < 0) return;
      busy = { ...busy, ...change };
      this.#running[index] = busy;
      this.#show();
    };
    return {
      update: (fraction) => replace({ fraction }),
      rename: (name) => replace({ text: name, fraction: null, since: performance.now() }),
      onRetry: (error, seconds) => {
        retried = true;
        this.#store.dispatch({ type: 'notice', notice: this.#retryNotice(error, seconds) });
      },
      end: () => {
        this.#running = this.#running.filter((other) => other !== busy);
        this.#show();
        if (retried && this.#store.state.notice?.kind === 'retrying') {
          this.#store.dispatch({ type: 'notice', notice: null });
        }
      },
    };
  }

  #show() {
    this.#store.dispatch({ type: 'busy', busy: this.#running[0] ?? null });
  }

  /**
   * @param {ApiError | ServerUnreachable} error
   * @param {number} seconds
   * @returns {import('../state/store.js').Notice}
   */
  #retryNotice(error, seconds) {
    const retrying = `Retrying in ${Math.max(1, Math.round(seconds))}\u00a0s.`;
    const unreachable = error instanceof ServerUnreachable;
    return {
      kind: 'retrying',
      title: unreachable ? error.message : 'Waiting for the server.',
      text: unreachable
        ? `Check that maskery serve is running. ${retrying} Your objects are kept.`
        : `${error.message} ${retrying}`,
      action: { label: 'Retry now', run: this.#retryNow },
    };
  }
}
