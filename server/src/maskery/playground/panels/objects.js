/** The list of things: colour, name, score, size; hide and delete. */

import { byId, icon, make } from '../dom.js';
import { cssColour } from '../mask/colours.js';
import { isAskable, isBlank } from '../state/prompt.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../state/prompt.js').Thing} Thing */

/**
 * @typedef {object} Row
 * @property {HTMLLIElement} item
 * @property {HTMLInputElement} name
 * @property {HTMLElement} said
 * @property {HTMLMeterElement} score
 * @property {HTMLButtonElement} hide
 * @property {HTMLButtonElement} remove
 */

/** Between a number and its unit, never at the end of a line. */
const THIN = '\u202f';

export class Objects {
  #store;
  #list = byId('objects', HTMLUListElement);
  #empty = byId('no-objects', HTMLElement);
  #add = byId('new-object', HTMLButtonElement);
  /** @type {Map<number, Row>} */
  #rows = new Map();

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    this.#add.addEventListener('click', () => store.ask({ type: 'new' }));
    store.subscribe((state, before) => {
      if (state.history !== before.history || state.answer !== before.answer || state.picture !== before.picture) {
        this.#render(state);
      }
    });
    this.#render(store.state);
  }

  /** @param {State} state */
  #render(state) {
    const { things, selected } = state.history.present;
    for (const [id, row] of this.#rows) {
      if (!things.some((thing) => thing.id === id)) {
        row.item.remove();
        this.#rows.delete(id);
      }
    }
    things.forEach((thing, place) => {
      const row = this.#rows.get(thing.id) ?? this.#make(thing.id);
      if (this.#list.children[place] !== row.item) {
        this.#list.insertBefore(row.item, this.#list.children[place] ?? null);
      }
      fill(row, thing, thing.id === selected, state);
    });
    this.#empty.hidden = things.length > 0;
    this.#add.disabled = !state.picture || things.length >= state.mostThings;
  }

  /** @param {number} id */
  #make(id) {
    const swatch = make('span', { class: 'swatch', 'aria-hidden': 'true' });
    swatch.style.setProperty('--colour', cssColour(id));
    const name = make('input', { class: 'name', type: 'text', maxlength: '60', spellcheck: 'false', autocomplete: 'off' });
    const said = make('span', { class: 'said' });
    const score = make('meter', { min: '0', max: '1', class: 'score' });
    const hide = make('button', { class: 'plain', type: 'button' }, icon('eye'));
    const remove = make('button', { class: 'plain', type: 'button' }, icon('trash'));
    const words = make('div', { class: 'words' }, name, said, score);
    const item = make('li', { class: 'object' }, swatch, words, hide, remove);
    item.addEventListener('click', () => this.#store.ask({ type: 'select', id }));
    name.addEventListener('focus', () => this.#store.ask({ type: 'select', id }));
    name.addEventListener('change', () => {
      this.#store.ask({ type: 'rename', id, name: name.value.trim() || `Object ${id}` });
    });
    name.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === 'Escape') name.blur();
    });
    hide.addEventListener('click', (event) => {
      event.stopPropagation();
      const thing = this.#store.prompt.things.find((each) => each.id === id);
      this.#store.ask({ type: 'hide', id, hidden: !thing?.hidden });
    });
    remove.addEventListener('click', (event) => {
      event.stopPropagation();
      this.#store.ask({ type: 'delete', id });
      // The button is gone: the keyboard goes on from a place that stays.
      this.#add.focus();
    });
    const row = { item, name, said, score, hide, remove };
    this.#rows.set(id, row);
    return row;
  }
}

/**
 * @param {Row} row
 * @param {Thing} thing
 * @param {boolean} selected
 * @param {State} state
 */
function fill(row, thing, selected, state) {
  const { item, name, said, score, hide, remove } = row;
  const result = state.answer?.results.get(thing.id);
  item.classList.toggle('is-selected', selected);
  item.classList.toggle('is-hidden', thing.hidden);
  if (document.activeElement !== name) name.value = thing.name;
  name.setAttribute('aria-label', selected ? 'Name of the selected object' : `Name of object ${thing.id}`);
  said.textContent = describe(thing, state);
  score.hidden = !result || result.sameAs !== null || !isAskable(thing);
  score.value = result?.score ?? 0;
  score.title = `Score ${(result?.score ?? 0).toFixed(2)}: how well the model thinks that it has met the object`;
  score.setAttribute('aria-label', `Score of ${thing.name}`);
  hide.setAttribute('aria-label', `Hide ${thing.name}`);
  hide.setAttribute('aria-pressed', String(thing.hidden));
  hide.title = thing.hidden ? 'Show (H)' : 'Hide (H)';
  hide.replaceChildren(icon(thing.hidden ? 'eye-off' : 'eye'));
  remove.setAttribute('aria-label', `Delete ${thing.name}`);
  remove.title = 'Delete (Delete)';
}

/**
 * @param {Thing} thing
 * @param {State} state
 */
export function describe(thing, state) {
  if (isBlank(thing)) return 'Click on it in the picture';
  if (!isAskable(thing)) return 'Add a point on it';
  const result = state.answer?.results.get(thing.id);
  if (!result || !state.picture) return '…';
  if (result.sameAs !== null) {
    const other = state.history.present.things.find((each) => each.id === result.sameAs);
    return `Same thing as ${other?.name ?? 'another'}`;
  }
  if (result.share === 0) return 'Nothing found there';
  const pixels = Math.round(result.share * state.picture.width * state.picture.height);
  return `${result.score.toFixed(2)} · ${percent(result.share)} · ${count(pixels)}${THIN}px`;
}

/** @param {number} share */
function percent(share) {
  const value = share * 100;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)}${THIN}%`;
}

/** @param {number} pixels */
function count(pixels) {
  if (pixels < 1e4) return String(pixels);
  return pixels < 1e6 ? `${Math.round(pixels / 1e3)}${THIN}k` : `${(pixels / 1e6).toFixed(1)}${THIN}M`;
}
