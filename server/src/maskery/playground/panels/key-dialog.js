/** Asks for the key, and tries it before it is believed. */

import { ApiError } from '../api/errors.js';
import { byId } from '../dom.js';

/** @typedef {import('../api/client.js').Client} Client */
/** @typedef {import('../api/key.js').Keyring} Keyring */

export class KeyDialog {
  #dialog = byId('key-dialog', HTMLDialogElement);
  #field = byId('key-field', HTMLInputElement);
  #why = byId('key-why', HTMLElement);
  #button = byId('key-send', HTMLButtonElement);
  #client;
  #keyring;
  #kept;

  /**
   * @param {Client} client
   * @param {Keyring} keyring
   * @param {() => void} kept told when there is a key that fits
   */
  constructor(client, keyring, kept) {
    this.#client = client;
    this.#keyring = keyring;
    this.#kept = kept;
    byId('key-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#try(this.#field.value.trim());
    });
    byId('key-button', HTMLButtonElement).addEventListener('click', () => this.open(''));
    byId('key-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
  }

  /** @param {string} why the key is needed */
  open(why) {
    this.#say(why);
    if (this.#dialog.open) return;
    this.#field.value = '';
    this.#dialog.showModal();
    this.#field.focus();
  }

  /** @param {string} key */
  async #try(key) {
    if (!key) {
      this.#say('A key begins with mk_.');
      return;
    }
    const before = this.#keyring.key;
    this.#keyring.keep(key);
    this.#button.disabled = true;
    try {
      await this.#client.models();
      this.#dialog.close();
      this.#kept();
    } catch (error) {
      this.#keyring.keep(before);
      const wrong = error instanceof ApiError && error.status === 401;
      this.#say(wrong ? 'The server does not know this key, or it was revoked.' : String(/** @type {Error} */ (error).message));
      this.#field.select();
    } finally {
      this.#button.disabled = false;
    }
  }

  /** @param {string} text */
  #say(text) {
    this.#why.textContent = text;
    this.#why.hidden = !text;
  }
}
