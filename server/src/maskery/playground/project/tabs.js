/**
 * Several tabs with the same project. The tab that was used last owns it and saves changes. A tab that is used again
 * claims the project; the tab that had it saves its changes first.
 */

const CHANNEL = 'maskery-project';
const SHOWN_KEY = 'maskery-image';
/** Milliseconds in which the owner answers, if there is one, and in which it saves its changes. */
const ANSWER = 60;
const RELEASE = 2000;

/** @typedef {'claim' | 'releasing' | 'released'} Message */

export class Tabs {
  isOwner = true;
  #channel = new BroadcastChannel(CHANNEL);
  #onClaimed;
  #onReturn;
  /** @type {Promise<void> | null} */
  #claim = null;
  /** @type {(message: Message) => void} */
  #answer = () => {};

  /**
   * @param {{ onClaimed: () => Promise<void>, onReturn: () => void }} callbacks called when another tab claims the
   *   project, and when the user returns to this tab after that
   */
  constructor({ onClaimed, onReturn }) {
    this.#onClaimed = onClaimed;
    this.#onReturn = onReturn;
    this.#channel.onmessage = ({ data }) => {
      if (data === 'claim') void this.#release();
      else this.#answer(data);
    };
    for (const kind of ['focus', 'pointerdown', 'keydown']) {
      addEventListener(kind, (event) => this.#onUse(event), { capture: true });
    }
  }

  /** Become the owner of the project. */
  claim() {
    this.#claim ??= this.#waitForRelease().finally(() => {
      this.isOwner = true;
      this.#claim = null;
    });
    return this.#claim;
  }

  /** Id of the image that this tab showed last, before a reload, too. */
  get shown() {
    return sessionStorage.getItem(SHOWN_KEY);
  }

  set shown(id) {
    if (id) sessionStorage.setItem(SHOWN_KEY, id);
    else sessionStorage.removeItem(SHOWN_KEY);
  }

  /** @returns {Promise<void>} */
  #waitForRelease() {
    return new Promise((resolve) => {
      let timer = setTimeout(resolve, ANSWER);
      this.#answer = (message) => {
        clearTimeout(timer);
        if (message === 'released') resolve();
        else timer = setTimeout(resolve, RELEASE);
      };
      this.#send('claim');
    });
  }

  async #release() {
    if (!this.isOwner) return;
    this.#send('releasing');
    await this.#onClaimed();
    this.isOwner = false;
    this.#send('released');
  }

  /** @param {Event} event */
  #onUse(event) {
    if (this.isOwner) return;
    // What the user sees may have changed: an action waits for the next one.
    if (event.type !== 'focus') {
      event.preventDefault();
      event.stopPropagation();
    }
    if (!this.#claim) void this.claim().then(this.#onReturn);
  }

  /** @param {Message} message */
  #send(message) {
    this.#channel.postMessage(message);
  }
}
