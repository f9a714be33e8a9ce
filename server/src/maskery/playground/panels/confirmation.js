/** The dialog that asks before something is deleted for good. */

import { byId } from '../dom.js';

export class Confirmation {
  #dialog = byId('confirm-dialog', HTMLDialogElement);
  #title = byId('confirm-title', HTMLElement);
  #text = byId('confirm-text', HTMLElement);
  #accept = byId('confirm-accept', HTMLButtonElement);

  constructor() {
    byId('confirm-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close(''));
    this.#accept.addEventListener('click', () => this.#dialog.close('accept'));
  }

  /**
   * @param {string} title a question
   * @param {string} text what is lost
   * @param {string} action on the button that accepts
   * @returns {Promise<boolean>} whether the user has accepted
   */
  ask(title, text, action) {
    this.#title.textContent = title;
    this.#text.textContent = text;
    this.#accept.textContent = action;
    // Escape leaves the value as it was.
    this.#dialog.returnValue = '';
    this.#dialog.showModal();
    return new Promise((resolve) => {
      this.#dialog.addEventListener('close', () => resolve(this.#dialog.returnValue === 'accept'), { once: true });
    });
  }
}
