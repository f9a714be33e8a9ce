/** The list of labels: their colours, number keys and names. */

import { byId, createElement, icon, updateRows } from '../dom.js';
import { cssColour } from '../mask/colours.js';
import { selectedObject } from '../state/prompt.js';

/** @typedef {import('../state/labels.js').Label} Label */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('./confirmation.js').Confirmation} Confirmation */

/**
 * @typedef {object} Row
 * @property {HTMLLIElement} item
 * @property {HTMLButtonElement} assign
 * @property {HTMLElement} key
 * @property {HTMLInputElement} name
 * @property {HTMLButtonElement} remove
 */

/** Labels with a number key. */
const KEYS = 9;

export class LabelList {
  #store;
  #confirmation;
  #list = byId('labels', HTMLUListElement);
  #hint = byId('no-labels', HTMLElement);
  #names = byId('label-names', HTMLDataListElement);
  #field = byId('new-label', HTMLInputElement);
  /** @type {Map<number, Row>} */
  #rows = new Map();

  /**
   * @param {Store} store
   * @param {Confirmation} confirmation
   */
  constructor(store, confirmation) {
    this.#store = store;
    this.#confirmation = confirmation;
    byId('new-label-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      store.dispatch({ type: 'labels', action: { type: 'add', name: this.#field.value } });
      this.#field.value = '';
    });
    store.subscribe((state, before) => {
      if (state.labels !== before.labels) this.#render(state);
    });
    this.#render(store.state);
  }

  /** @param {State} state */
  #render({ labels: { items, current } }) {
    const ids = items.map((label) => label.id);
    const rows = updateRows(this.#list, this.#rows, ids, (id) => this.#createRow(id));
    items.forEach((label, index) => fill(/** @type {Row} */ (rows[index]), label, index, label.id === current));
    this.#hint.hidden = items.length > 0;
    this.#names.replaceChildren(...items.map((label) => createElement('option', { value: label.name })));
  }

  /** @param {number} id */
  #createRow(id) {
    const key = createElement('span', { class: 'label-key' });
    const swatch = createElement('span', { class: 'swatch', 'aria-hidden': 'true' });
    swatch.style.setProperty('--colour', cssColour(id));
    const assign = createElement('button', { class: 'label-assign', type: 'button' }, swatch, key);
    const name = createElement('input', { class: 'name', type: 'text', maxlength: '60', spellcheck: 'false', autocomplete: 'off' });
    const remove = createElement('button', { class: 'icon-button', type: 'button' }, icon('trash'));
    const item = createElement('li', { class: 'label' }, assign, name, remove);
    assign.addEventListener('click', () => assignLabel(this.#store, id));
    name.addEventListener('change', () => {
      this.#store.dispatch({ type: 'labels', action: { type: 'rename', id, name: name.value } });
      // An empty name, or that of another label, is not accepted.
      name.value = this.#store.state.labels.items.find((label) => label.id === id)?.name ?? '';
    });
    name.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === 'Escape') name.blur();
    });
    remove.addEventListener('click', async () => {
      const text = 'Its objects are kept without a label.';
      if (!(await this.#confirmation.ask(`Delete the label ${name.value}?`, text, 'Delete'))) return;
      this.#store.dispatch({ type: 'labels', action: { type: 'delete', id } });
      this.#field.focus();
    });
    return { item, assign, key, name, remove };
  }
}

/**
 * Give the selected object a label, and new objects, too.
 *
 * @param {Store} store
 * @param {number} id of the label
 */
export function assignLabel(store, id) {
  store.dispatch({ type: 'labels', action: { type: 'select', id } });
  const object = selectedObject(store.prompt);
  if (object && object.label !== id) store.edit({ type: 'label', id: object.id, label: id });
}

/**
 * @param {Row} row
 * @param {Label} label
 * @param {number} index
 * @param {boolean} isCurrent
 */
function fill({ item, assign, key, name, remove }, label, index, isCurrent) {
  item.classList.toggle('is-current', isCurrent);
  key.textContent = index < KEYS ? String(index + 1) : '';
  if (document.activeElement !== name) name.value = label.name;
  name.setAttribute('aria-label', `Name of the label ${label.name}`);
  assign.setAttribute('aria-label', `Label the selected object ${label.name}`);
  assign.setAttribute('aria-pressed', String(isCurrent));
  assign.title = index < KEYS ? `Label the selected object, and new ones (${index + 1})` : 'Label the selected object, and new ones';
  remove.setAttribute('aria-label', `Delete the label ${label.name}`);
  remove.title = 'Delete the label';
}
