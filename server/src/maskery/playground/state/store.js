/** The state of the page. Actions change it, and listeners are called after each change. */

import { EMPTY_HISTORY, reduceHistory } from './history.js';
import { NO_IMAGES, reduceImages } from './images.js';
import { NO_LABELS, labelNamed, reduceLabels } from './labels.js';

/** @typedef {import('./history.js').History} History */
/** @typedef {import('./history.js').HistoryAction} HistoryAction */
/** @typedef {import('./images.js').Images} Images */
/** @typedef {import('./images.js').ImagesAction} ImagesAction */
/** @typedef {import('./labels.js').Labels} Labels */
/** @typedef {import('./labels.js').LabelsAction} LabelsAction */
/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */

/** @typedef {'include' | 'exclude' | 'box' | 'brush' | 'erase' | 'polygon' | 'move'} Tool */
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
 * @property {Images} images of the project
 * @property {Labels} labels of the project
 * @property {string} unsaved why the browser does not keep the project; empty if it does
 * @property {SourceImage | null} image the one that is shown
 * @property {History} history of its objects
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
 *   | { type: 'images', action: ImagesAction }
 *   | { type: 'labels', action: LabelsAction }
 *   | { type: 'unsaved', unsaved: string }
 *   | { type: 'image', image: SourceImage | null, history: History, model: string }
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
  images: NO_IMAGES,
  labels: NO_LABELS,
  unsaved: '',
  image: null,
  history: EMPTY_HISTORY,
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
      const history = reduceHistory(state.history, action.action, state.labels.current);
      return history === state.history ? state : { ...state, history };
    }
    case 'images':
      return { ...state, images: reduceImages(state.images, action.action) };
    case 'labels': {
      const labels = reduceLabels(state.labels, action.action);
      return labels === state.labels ? state : { ...state, labels };
    }
    case 'unsaved':
      return state.unsaved === action.unsaved ? state : { ...state, unsaved: action.unsaved };
    case 'image': {
      const { image, history, model } = action;
      const images = reduceImages(state.images, { type: 'show', id: image?.id ?? null });
      return { ...state, images, image, history, model, segmentation: null, notice: null };
    }
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

  /**
   * Label an object. The label is created if there is none with this name, and new objects get it, too.
   *
   * @param {number} id of the object
   * @param {string} name of the label; empty: none
   */
  label(id, name) {
    this.dispatch({ type: 'labels', action: { type: 'add', name } });
    const label = labelNamed(this.#state.labels, name)?.id ?? null;
    this.dispatch({ type: 'labels', action: { type: 'select', id: label } });
    this.edit({ type: 'label', id, label });
  }

  /** @param {Listener} listener */
  subscribe(listener) {
    this.#listeners.push(listener);
  }
}
