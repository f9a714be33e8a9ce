/** What the page waits for, and what went wrong. */

import { announce, byId } from '../dom.js';
import { describe } from './objects.js';
import { selectedThing } from '../state/prompt.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').Busy} Busy */
/** @typedef {import('../state/store.js').Notice} Notice */

/** Milliseconds that nobody minds waiting. */
const PATIENT = 250;

export class Status {
  #pill = byId('busy', HTMLElement);
  #text = byId('busy-text', HTMLElement);
  #bar = byId('busy-bar', HTMLProgressElement);
  #notice = byId('notice', HTMLElement);
  #title = byId('notice-title', HTMLElement);
  #words = byId('notice-text', HTMLElement);
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
      if (state.busy !== before.busy) this.#wait(state.busy);
      if (state.notice !== before.notice) this.#tell(state.notice);
      if (state.answer !== before.answer && state.answer) {
        const thing = selectedThing(state.history.present);
        if (thing) announce(`${thing.name}: ${describe(thing, state)}`);
      }
    });
  }

  /** @param {Busy | null} busy */
  #wait(busy) {
    clearTimeout(this.#timer);
    if (!busy) {
      this.#pill.hidden = true;
      return;
    }
    const waited = performance.now() - busy.since;
    if (waited >= PATIENT || !this.#pill.hidden) this.#show(busy);
    this.#timer = setTimeout(() => this.#wait(busy), waited < PATIENT ? PATIENT - waited : 500);
  }

  /** @param {Busy} busy */
  #show(busy) {
    const seconds = Math.floor((performance.now() - busy.since) / 1000);
    this.#text.textContent = seconds >= 2 ? `${busy.text} … ${seconds} s` : `${busy.text} …`;
    if (busy.share === null) this.#bar.removeAttribute('value');
    else this.#bar.value = busy.share;
    this.#pill.hidden = false;
  }

  /** @param {Notice | null} notice */
  #tell(notice) {
    this.#notice.hidden = !notice;
    if (!notice) return;
    this.#notice.dataset.kind = notice.kind;
    this.#title.textContent = notice.title;
    this.#words.textContent = notice.text;
    this.#button.hidden = !notice.action;
    this.#button.textContent = notice.action?.label ?? '';
    this.#run = notice.action?.run ?? (() => {});
    announce(`${notice.title} ${notice.text}`);
  }
}
