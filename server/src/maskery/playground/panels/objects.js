/** The list of objects: colour, name, score, size; hide and delete. */

import { byId, createElement, icon, updateRows } from '../dom.js';
import { cssColour } from '../mask/colours.js';
import { colourIdOf, labelOf, nameOf } from '../state/labels.js';
import { isComplete, isBlank } from '../state/prompt.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */

/**
 * @typedef {object} Row
 * @property {HTMLLIElement} item
 * @property {HTMLElement} swatch
 * @property {HTMLInputElement} name
 * @property {HTMLElement} summary
 * @property {HTMLMeterElement} score
 * @property {HTMLButtonElement} hide
 * @property {HTMLButtonElement} remove
 */

/** Narrow no-break space, between a number and its unit. */
const SPACE = '\u202f';

export class ObjectList {
  #store;
  #list = byId('objects', HTMLUListElement);
  #empty = byId('no-objects', HTMLElement);
  #add = byId('add', HTMLButtonElement);
  /** @type {Map<number, Row>} */
  #rows = new Map();

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    store.subscribe((state, before) => {
      const { history, segmentation, image, labels } = before;
      const isBusyChanged = Boolean(state.busy) !== Boolean(before.busy);
      const isChanged =
        state.history !== history ||
        state.segmentation !== segmentation ||
        state.image !== image ||
        state.labels !== labels;
      if (isChanged || isBusyChanged) this.#render(state);
    });
    this.#render(store.state);
  }

  /** @param {State} state */
  #render(state) {
    const { objects, selected } = state.history.present;
    const ids = objects.map((object) => object.id);
    const rows = updateRows(this.#list, this.#rows, ids, (id) => this.#createRow(id));
    objects.forEach((object, index) => fill(/** @type {Row} */ (rows[index]), object, object.id === selected, state));
    this.#empty.hidden = objects.length > 0;
    this.#add.disabled = !state.image || objects.length >= state.maxObjects;
  }

  /** @param {number} id */
  #createRow(id) {
    const swatch = createElement('span', { class: 'swatch', 'aria-hidden': 'true' });
    const attributes = { class: 'name', type: 'text', maxlength: '60', spellcheck: 'false', autocomplete: 'off' };
    // The label, with completion.
    const name = createElement('input', { ...attributes, list: 'label-names' });
    const summary = createElement('span', { class: 'summary' });
    const score = createElement('meter', { min: '0', max: '1', class: 'score' });
    const hide = createElement('button', { class: 'icon-button', type: 'button' }, icon('eye'));
    const remove = createElement('button', { class: 'icon-button', type: 'button' }, icon('trash'));
    const text = createElement('div', { class: 'object-text' }, name, summary, score);
    const item = createElement('li', { class: 'object' }, swatch, text, hide, remove);
    item.addEventListener('click', () => this.#store.edit({ type: 'select', id }));
    name.addEventListener('focus', () => this.#store.edit({ type: 'select', id }));
    name.addEventListener('change', () => {
      this.#store.label(id, name.value);
    });
    name.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === 'Escape') name.blur();
    });
    hide.addEventListener('click', (event) => {
      event.stopPropagation();
      const object = this.#store.prompt.objects.find((each) => each.id === id);
      this.#store.edit({ type: 'hide', id, hidden: !object?.hidden });
    });
    remove.addEventListener('click', (event) => {
      event.stopPropagation();
      this.#store.edit({ type: 'delete', id });
      // The focused button has been removed: move the focus to one that remains.
      this.#add.focus();
    });
    return { item, swatch, name, summary, score, hide, remove };
  }
}

/**
 * @param {Row} row
 * @param {ObjectPrompt} object
 * @param {boolean} selected
 * @param {State} state
 */
function fill(row, object, selected, state) {
  const { item, swatch, name, summary, score, hide, remove } = row;
  const title = nameOf(state.labels, object);
  const result = state.segmentation?.results.get(object.id);
  item.classList.toggle('is-selected', selected);
  item.classList.toggle('is-hidden', object.hidden);
  swatch.style.setProperty('--colour', cssColour(colourIdOf(state.labels, object)));
  if (document.activeElement !== name) name.value = labelOf(state.labels, object)?.name ?? '';
  name.placeholder = `Object ${object.id}`;
  name.setAttribute('aria-label', selected ? 'Label of the selected object' : `Label of object ${object.id}`);
  summary.textContent = describe(object, state);
  const value = result?.score ?? null;
  score.hidden = value === null || result?.sameAs !== null || !isComplete(object);
  score.value = value ?? 0;
  score.title = `Score ${(value ?? 0).toFixed(2)}: the model's estimate of the mask's quality, 0 to 1`;
  score.setAttribute('aria-label', `Score of ${title}`);
  hide.setAttribute('aria-label', `Hide ${title}`);
  if (hide.getAttribute('aria-pressed') !== String(object.hidden)) {
    hide.setAttribute('aria-pressed', String(object.hidden));
    hide.title = object.hidden ? 'Show (H)' : 'Hide (H)';
    hide.replaceChildren(icon(object.hidden ? 'eye-off' : 'eye'));
  }
  remove.setAttribute('aria-label', `Delete ${title}`);
  remove.title = 'Delete (Delete)';
}

/**
 * What the list says about an object: its score and size, or what is missing.
 *
 * @param {ObjectPrompt} object
 * @param {State} state
 */
export function describe(object, state) {
  if (isBlank(object)) return 'Click on it in the image';
  if (!isComplete(object)) return 'Add a point on the object';
  const result = state.segmentation?.results.get(object.id);
  if (!result || !state.image) return state.busy ? '…' : 'No mask yet';
  if (result.sameAs !== null) {
    const other = state.history.present.objects.find((each) => each.id === result.sameAs);
    return `Same as ${other ? nameOf(state.labels, other) : 'another object'}`;
  }
  if (!result.area) return object.mask ? 'Empty, or covered by other objects' : 'No object found';
  const { width, height } = state.segmentation?.mask ?? state.image;
  const fraction = result.area / (width * height);
  const pixels = Math.round(fraction * state.image.width * state.image.height);
  const origin = result.score === null ? 'Edited' : result.score.toFixed(2);
  return `${origin} · ${percent(fraction)} · ${count(pixels)}${SPACE}px`;
}

/** @param {number} fraction */
function percent(fraction) {
  const value = fraction * 100;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)}${SPACE}%`;
}

/** @param {number} pixels */
function count(pixels) {
  if (pixels < 1e4) return String(pixels);
  return pixels < 1e6 ? `${Math.round(pixels / 1e3)}${SPACE}k` : `${(pixels / 1e6).toFixed(1)}${SPACE}M`;
}
