/** Shows progress and notices. */

import { announce, byId } from '../dom.js';
import { describe } from './objects.js';
import { nameOf } from '../state/labels.js';
import { selectedObject } from '../state/prompt.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').Busy} Busy */
/** @typedef {import('../state/store.js').Notice} Notice */

/** Milliseconds before progress is shown: operations that end sooner show none. */
const DELAY = 250;

export class Status {
  #busy = byId('busy', HTMLElement);
  #text = byId('busy-text', HTMLElement);
  #bar = byId('busy-bar', HTMLProgressElement);
  #notice = byId('notice', HTMLElement);
  #title = byId('notice-title', HTMLElement);
  #body = byId('notice-text', HTMLElement);
  #button = byId('notice-action', HTMLButtonElement);
  #timer = 0;
  /** @type {() => void} */
  #run = () => {};

  /** @param {Store} store */
  constructor(store) {
    this.#button.addEventListener('click', () => this.#run());
    byId('notice-close', HTMLButtonElement).addEventListener('click', () =>
      store.dispatch({ type: 'notice', notice: null }),
    );
    store.subscribe((state, before) => {
      if (state.busy !== before.busy) this.#updateBusy(state.busy);
      if (state.notice !== before.notice) this.#showNotice(state.notice);
      if (state.segmentation !== before.segmentation && state.segmentation) {
        const object = selectedObject(state.history.present);
        if (object) announce(`${nameOf(state.labels, object)}: ${describe(object, state)}`);
      }
    });
  }

  /** @param {Busy | null} busy */
  #updateBusy(busy) {
    clearTimeout(this.#timer);
    if (!busy) {
      this.#busy.hidden = true;
      return;
    }
    const elapsed = performance.now() - busy.since;
    if (elapsed >= DELAY || !this.#busy.hidden) this.#showBusy(busy);
    this.#timer = setTimeout(() => this.#updateBusy(busy), elapsed < DELAY ? DELAY - elapsed : 500);
  }

  /** @param {Busy} busy */
  #showBusy(busy) {
    const seconds = Math.floor((performance.now() - busy.since) / 1000);
    this.#text.textContent = seconds >= 2 ? `${busy.text} … ${seconds} s` : `${busy.text} …`;
    if (busy.fraction === null) this.#bar.removeAttribute('value');
    else this.#bar.value = busy.fraction;
    this.#busy.hidden = false;
  }

  /** @param {Notice | null} notice */
  #showNotice(notice) {
    this.#notice.hidden = !notice;
    if (!notice) return;
    this.#notice.dataset.kind = notice.kind;
    this.#title.textContent = notice.title;
    this.#body.textContent = notice.text;
    this.#button.hidden = !notice.action;
    this.#button.textContent = notice.action?.label ?? '';
    this.#run = notice.action?.run ?? (() => {});
    announce(`${notice.title} ${notice.text}`);
  }
}
