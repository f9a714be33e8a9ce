/** The key: taken from the address, which forgets it, and kept for this tab alone. */

const NAME = 'maskery-key';

export class Keyring {
  #storage;
  #key;

  /** @param {Storage} storage */
  constructor(storage) {
    this.#storage = storage;
    this.#key = storage.getItem(NAME) ?? '';
  }

  get key() {
    return this.#key;
  }

  /** @param {string} key empty: none */
  keep(key) {
    this.#key = key;
    if (key) this.#storage.setItem(NAME, key);
    else this.#storage.removeItem(NAME);
  }
}

/**
 * What the address' fragment asks for (`#key=…&sample=…`); the fragment is removed, so that no key stays in the
 * address bar, in the history, or in a link that somebody copies.
 *
 * @param {Location} location
 * @param {History} history
 */
export function takeFragment(location, history) {
  const asked = new URLSearchParams(location.hash.slice(1));
  const taken = { key: asked.get('key')?.trim() ?? '', sample: asked.get('sample') ?? '' };
  if (taken.key || taken.sample) history.replaceState(null, '', location.pathname + location.search);
  return taken;
}
