/** The state of the page. Actions change it, and listeners are called after each change. */

import { EMPTY_HISTORY, reduceHistory } from './history.js';

/** @typedef {import('./history.js').History} History */
/** @typedef {import('./history.js').HistoryAction} HistoryAction */
/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */

/** @typedef {'include' | 'exclude' | 'box' | 'move'} Tool */
/** @typedef {'overlay' | 'cutout' | 'mask'} ViewMode */

/**
 * @typedef {object} Busy the operation that the page waits for
 * @property {string} text
 * @property {number | null} fraction that is done, 0 to 1; null if unknown
 * @property {number} since start time, as of performance.now()
 */

/**
 * @typedef {object} Notice a message, with an action that the user can take
 * @property {string} title
 * @property {string} text
 * @property {'error' | 'retrying'} kind
 * @property {{ label: string, run: () => void } | null} action
 */

/**
 * @typedef {object} State
 * @property {History} history
 * @property {SourceImage | null} image
 * @property {string} model empty until the models have been loaded
 * @property {string[]} models
 * @property {number} maxObjects in one request
 * @property {Segmentation | null} segmentation the latest one; that of an earlier prompt while a request is pending
 * @property {Busy | null} busy
 * @property {Notice | null} notice
 * @property {Tool} tool
 * @property {ViewMode} viewMode
 */

/**
 * @typedef {{ type: 'prompt', action: HistoryAction }
 *   | { type: 'image', image: SourceImage }
 *   | { type: 'models', models: string[], model: string }
 *   | { type: 'limits', maxObjects: number }
 *   | { type: 'model', model: string }
 *   | { type: 'segmentation', segmentation: Segmentation | null }
 *   | { type: 'busy', busy: Busy | null }
 *   | { type: 'notice', notice: Notice | null }
 *   | { type: 'tool', tool: Tool }
 *   | { type: 'view-mode', viewMode: ViewMode }} Action
 */

/** @type {State} */
export const INITIAL = {
  history: EMPTY_HISTORY,
  image: null,
  model: '',
  models: [],
  maxObjects: 255,
  segmentation: null,
  busy: null,
  notice: null,
  tool: 'include',
  viewMode: 'overlay',
};

/**
 * @param {State} state
 * @param {Action} action
 * @returns {State}
 */
export function reduce(state, action) {
  switch (action.type) {
    case 'prompt': {
      const history = reduceHistory(state.history, action.action);
      return history === state.history ? state : { ...state, history };
    }
    case 'image':
      return { ...state, image: action.image, history: EMPTY_HISTORY, segmentation: null, busy: null, notice: null };
    case 'models':
      return { ...state, models: action.models, model: action.model };
    case 'limits':
      return { ...state, maxObjects: action.maxObjects };
    case 'model':
      return { ...state, model: action.model };
    case 'segmentation':
      return { ...state, segmentation: action.segmentation };
    case 'busy':
      return { ...state, busy: action.busy };
    case 'notice':
      return { ...state, notice: action.notice };
    case 'tool':
      return { ...state, tool: action.tool };
    case 'view-mode':
      return { ...state, viewMode: action.viewMode };
  }
}

/** @typedef {(state: State, before: State) => void} Listener */

export class Store {
  #state = INITIAL;
  /** @type {Listener[]} */
  #listeners = [];
  /** @type {[State, State][]} */
  #queue = [];

  get state() {
    return this.#state;
  }

  /** The current prompt. */
  get prompt() {
    return this.#state.history.present;
  }

  /**
   * Change the state and call the listeners. If a listener dispatches another action, all listeners are called for
   * the first change before any is called for the second.
   *
   * @param {Action} action
   */
  dispatch(action) {
    const before = this.#state;
    const after = reduce(before, action);
    if (after === before) return;
    this.#state = after;
    this.#queue.push([after, before]);
    if (this.#queue.length > 1) return;
    for (let change = this.#queue[0]; change; change = this.#queue[0]) {
      try {
        for (const listener of this.#listeners) listener(...change);
      } finally {
        this.#queue.shift();
      }
    }
  }

  /**
   * Change the prompt.
   *
   * @param {HistoryAction} action
   */
  edit(action) {
    this.dispatch({ type: 'prompt', action });
  }

  /** @param {Listener} listener */
  subscribe(listener) {
    this.#listeners.push(listener);
  }
}
