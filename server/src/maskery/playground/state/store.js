/** The one place where the page's state lies: read it, dispatch actions to change it, subscribe to be told. */

import { FRESH, reduceHistory } from './history.js';

/** @typedef {import('./history.js').History} History */
/** @typedef {import('./history.js').HistoryAction} HistoryAction */
/** @typedef {import('../picture/picture.js').Picture} Picture */
/** @typedef {import('../mask/answer.js').Answer} Answer */

/** @typedef {'include' | 'exclude' | 'box' | 'move'} Tool */
/** @typedef {'overlay' | 'cutout' | 'mask'} Look */

/**
 * @typedef {object} Busy what the page waits for
 * @property {string} text
 * @property {number | null} share of it that is done, where that is known
 * @property {number} since milliseconds, as of performance.now()
 */

/**
 * @typedef {object} Notice what the person should know, and can do about it
 * @property {string} title
 * @property {string} text
 * @property {'error' | 'waiting'} kind
 * @property {{ label: string, run: () => void } | null} action
 */

/**
 * @typedef {object} State
 * @property {History} history
 * @property {Picture | null} picture
 * @property {string} model empty until the server has named its models
 * @property {string[]} models
 * @property {number} mostThings objects that one request may have
 * @property {Answer | null} answer the one that is shown, of this prompt or of one shortly before
 * @property {Busy | null} busy
 * @property {Notice | null} notice
 * @property {Tool} tool
 * @property {Look} look
 */

/**
 * @typedef {{ type: 'prompt', action: HistoryAction }
 *   | { type: 'picture', picture: Picture }
 *   | { type: 'models', models: string[], model: string }
 *   | { type: 'limits', mostThings: number }
 *   | { type: 'model', model: string }
 *   | { type: 'answer', answer: Answer | null }
 *   | { type: 'busy', busy: Busy | null }
 *   | { type: 'notice', notice: Notice | null }
 *   | { type: 'tool', tool: Tool }
 *   | { type: 'look', look: Look }} Action
 */

/** @type {State} */
export const INITIAL = {
  history: FRESH,
  picture: null,
  model: '',
  models: [],
  mostThings: 255,
  answer: null,
  busy: null,
  notice: null,
  tool: 'include',
  look: 'overlay',
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
    case 'picture':
      return { ...state, picture: action.picture, history: FRESH, answer: null, busy: null, notice: null };
    case 'models':
      return { ...state, models: action.models, model: action.model };
    case 'limits':
      return { ...state, mostThings: action.mostThings };
    case 'model':
      return { ...state, model: action.model };
    case 'answer':
      return { ...state, answer: action.answer };
    case 'busy':
      return { ...state, busy: action.busy };
    case 'notice':
      return { ...state, notice: action.notice };
    case 'tool':
      return { ...state, tool: action.tool };
    case 'look':
      return { ...state, look: action.look };
  }
}

/** @typedef {(state: State, before: State) => void} Listener */

export class Store {
  #state = INITIAL;
  /** @type {Listener[]} */
  #listeners = [];
  /** @type {[State, State][]} */
  #untold = [];

  get state() {
    return this.#state;
  }

  /** What is asked for now. */
  get prompt() {
    return this.#state.history.present;
  }

  /**
   * A listener may dispatch too: what comes of it is told after everybody has been told of what came before.
   *
   * @param {Action} action
   */
  dispatch(action) {
    const before = this.#state;
    const after = reduce(before, action);
    if (after === before) return;
    this.#state = after;
    this.#untold.push([after, before]);
    if (this.#untold.length > 1) return;
    for (let told = this.#untold[0]; told; told = this.#untold[0]) {
      try {
        for (const listener of this.#listeners) listener(...told);
      } finally {
        this.#untold.shift();
      }
    }
  }

  /** @param {HistoryAction} action on the prompt */
  ask(action) {
    this.dispatch({ type: 'prompt', action });
  }

  /** @param {Listener} listener */
  subscribe(listener) {
    this.#listeners.push(listener);
  }
}
