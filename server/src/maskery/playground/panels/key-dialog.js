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
  /** Whether a request failed because it needs a key. */
  #isNeeded = false;

  /**
   * @param {Client} client
   * @param {KeyStore} keyStore
   * @param {{ onAccepted: () => void, onMissing: () => void }} callbacks called when the server has accepted a key, and
   *   when the dialog is closed without the key that a request needs
   */
  constructor(client, keyStore, { onAccepted, onMissing }) {
    this.#client = client;
    this.#keyStore = keyStore;
    this.#onAccepted = onAccepted;
    byId('key-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      const key = this.#field.value.trim();
      if (key) void this.use(key);
      else this.#showError('Enter a key. API keys start with mk_.');
    });
    byId('key-button', HTMLButtonElement).addEventListener('click', () => this.#open(''));
    byId('key-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('close', () => {
      if (this.#isNeeded) onMissing();
      this.#isNeeded = false;
    });
  }

  /**
   * Ask for the key that a request needs.
   *
   * @param {string} reason why the last key was refused; empty if there was none
   */
  ask(reason) {
    this.#isNeeded = true;
    this.#open(reason);
  }

  /**
   * Use a key if the server accepts it; otherwise keep the previous one and show the error.
   *
   * @param {string} key
   */
  async use(key) {
    const previous = this.#keyStore.key;
    this.#keyStore.key = key;
    this.#submit.disabled = true;
    try {
      await this.#client.models();
      this.#isNeeded = false;
      this.#dialog.close();
      this.#onAccepted();
    } catch (error) {
      this.#keyStore.key = previous;
      const refused = error instanceof ApiError && error.status === 401;
      const message = String(/** @type {Error} */ (error).message);
      this.#open(refused ? 'The key is not valid. It may have been revoked or have expired.' : message);
      this.#field.select();
    } finally {
      this.#submit.disabled = false;
    }
  }

  /** @param {string} error */
  #open(error) {
    this.#showError(error);
    if (this.#dialog.open) return;
    this.#field.value = '';
    this.#dialog.showModal();
    this.#field.focus();
  }

  /** @param {string} text */
  #showError(text) {
    this.#error.textContent = text;
    this.#error.hidden = !text;
  }
}
