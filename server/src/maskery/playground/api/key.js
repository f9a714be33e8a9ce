/** The API key: read from the URL's fragment and kept for this tab. */

const STORAGE_KEY = 'maskery-key';

/** Stores the API key in session storage. */
export class KeyStore {
  #storage;
  #key;

  /** @param {Storage} storage */
  constructor(storage) {
    this.#storage = storage;
    this.#key = storage.getItem(STORAGE_KEY) ?? '';
  }

  /** The API key; empty if there is none. */
  get key() {
    return this.#key;
  }

  set key(key) {
    this.#key = key;
    if (key) this.#storage.setItem(STORAGE_KEY, key);
    else this.#storage.removeItem(STORAGE_KEY);
  }
}

/**
 * Read the URL's fragment (`#key=…&sample=…`) and remove it, so that the key does not stay in the address bar, the
 * history or a copied link.
 *
 * @param {Location} location
 * @param {History} history
 */
export function consumeFragment(location, history) {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const values = { key: parameters.get('key')?.trim() ?? '', sample: parameters.get('sample') ?? '' };
  if (values.key || values.sample) history.replaceState(null, '', location.pathname + location.search);
  return values;
}
