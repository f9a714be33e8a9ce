/** The list of objects: colour, name, score, size; hide and delete. */

import { byId, createElement, icon } from '../dom.js';
import { cssColour } from '../mask/colours.js';
import { isComplete, isBlank } from '../state/prompt.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */

/**
 * @typedef {object} Row
 * @property {HTMLLIElement} item
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
  #add = byId('new-object', HTMLButtonElement);
  /** @type {Map<number, Row>} */
  #rows = new Map();

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    this.#add.addEventListener('click', () => store.edit({ type: 'new' }));
    store.subscribe((state, before) => {
      const { history, segmentation, image } = before;
      const isBusyChanged = Boolean(state.busy) !== Boolean(before.busy);
      const isChanged = state.history !== history || state.segmentation !== segmentation || state.image !== image;
      if (isChanged || isBusyChanged) this.#render(state);
    });
    this.#render(store.state);
  }

  /** @param {State} state */
  #render(state) {
    const { objects, selected } = state.history.present;
    for (const [id, row] of this.#rows) {
      if (!objects.some((object) => object.id === id)) {
        row.item.remove();
        this.#rows.delete(id);
      }
    }
    objects.forEach((object, index) => {
      const row = this.#rows.get(object.id) ?? this.#createRow(object.id);
      if (this.#list.children[index] !== row.item) {
        this.#list.insertBefore(row.item, this.#list.children[index] ?? null);
      }
      fill(row, object, object.id === selected, state);
    });
    this.#empty.hidden = objects.length > 0;
    this.#add.disabled = !state.image || objects.length >= state.maxObjects;
  }

  /** @param {number} id */
  #createRow(id) {
    const swatch = createElement('span', { class: 'swatch', 'aria-hidden': 'true' });
    swatch.style.setProperty('--colour', cssColour(id));
    const attributes = { class: 'name', type: 'text', maxlength: '60', spellcheck: 'false', autocomplete: 'off' };
    const name = createElement('input', attributes);
    const summary = createElement('span', { class: 'summary' });
    const score = createElement('meter', { min: '0', max: '1', class: 'score' });
    const hide = createElement('button', { class: 'icon-button', type: 'button' }, icon('eye'));
    const remove = createElement('button', { class: 'icon-button', type: 'button' }, icon('trash'));
    const text = createElement('div', { class: 'object-text' }, name, summary, score);
    const item = createElement('li', { class: 'object' }, swatch, text, hide, remove);
    item.addEventListener('click', () => this.#store.edit({ type: 'select', id }));
    name.addEventListener('focus', () => this.#store.edit({ type: 'select', id }));
    name.addEventListener('change', () => {
      this.#store.edit({ type: 'rename', id, name: name.value.trim() || `Object ${id}` });
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
    const row = { item, name, summary, score, hide, remove };
    this.#rows.set(id, row);
    return row;
  }
}

/**
 * @param {Row} row
 * @param {ObjectPrompt} object
 * @param {boolean} selected
 * @param {State} state
 */
function fill(row, object, selected, state) {
  const { item, name, summary, score, hide, remove } = row;
  const result = state.segmentation?.results.get(object.id);
  item.classList.toggle('is-selected', selected);
  item.classList.toggle('is-hidden', object.hidden);
  if (document.activeElement !== name) name.value = object.name;
  name.setAttribute('aria-label', selected ? 'Name of the selected object' : `Name of object ${object.id}`);
  summary.textContent = describe(object, state);
  score.hidden = !result || result.sameAs !== null || !isComplete(object);
  score.value = result?.score ?? 0;
  score.title = `Score ${(result?.score ?? 0).toFixed(2)}: the model's estimate of the mask's quality, 0 to 1`;
  score.setAttribute('aria-label', `Score of ${object.name}`);
  hide.setAttribute('aria-label', `Hide ${object.name}`);
  hide.setAttribute('aria-pressed', String(object.hidden));
  hide.title = object.hidden ? 'Show (H)' : 'Hide (H)';
  hide.replaceChildren(icon(object.hidden ? 'eye-off' : 'eye'));
  remove.setAttribute('aria-label', `Delete ${object.name}`);
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
    return `Same as ${other?.name ?? 'another object'}`;
  }
  if (result.fraction === 0) return 'No object found';
  const pixels = Math.round(result.fraction * state.image.width * state.image.height);
  return `${result.score.toFixed(2)} · ${percent(result.fraction)} · ${count(pixels)}${SPACE}px`;
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
