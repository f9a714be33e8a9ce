/** The dialog that asks for an API key and checks it. */

import { ApiError } from '../api/errors.js';
import { byId } from '../dom.js';

/** @typedef {import('../api/client.js').Client} Client */
/** @typedef {import('../api/key.js').KeyStore} KeyStore */

export class KeyDialog {
  #dialog = byId('key-dialog', HTMLDialogElement);
  #field = byId('key-field', HTMLInputElement);
  #error = byId('key-error', HTMLElement);
  #submit = byId('key-submit', HTMLButtonElement);
  #client;
  #keyStore;
  #onAccepted;

  /**
   * @param {Client} client
   * @param {KeyStore} keyStore
   * @param {() => void} onAccepted called when the server has accepted a key
   */
  constructor(client, keyStore, onAccepted) {
    this.#client = client;
    this.#keyStore = keyStore;
    this.#onAccepted = onAccepted;
    byId('key-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#check(this.#field.value.trim());
    });
    byId('key-button', HTMLButtonElement).addEventListener('click', () => this.open(''));
    byId('key-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
  }

  /** @param {string} reason why the last key was refused; empty if there was none */
  open(reason) {
    this.#showError(reason);
    if (this.#dialog.open) return;
    this.#field.value = '';
    this.#dialog.showModal();
    this.#field.focus();
  }

  /** @param {string} key */
  async #check(key) {
    if (!key) {
      this.#showError('Enter a key. API keys start with mk_.');
      return;
    }
    const previous = this.#keyStore.key;
    this.#keyStore.key = key;
    this.#submit.disabled = true;
    try {
      await this.#client.models();
      this.#dialog.close();
      this.#onAccepted();
    } catch (error) {
      this.#keyStore.key = previous;
      const refused = error instanceof ApiError && error.status === 401;
      const message = String(/** @type {Error} */ (error).message);
      this.#showError(refused ? 'The key is not valid. It may have been revoked or have expired.' : message);
      this.#field.select();
    } finally {
      this.#submit.disabled = false;
    }
  }

  /** @param {string} text */
  #showError(text) {
    this.#error.textContent = text;
    this.#error.hidden = !text;
  }
}
