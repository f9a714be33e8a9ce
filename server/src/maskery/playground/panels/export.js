/** Everything that can be taken away as a file. */

import { isAbort } from '../api/errors.js';
import { byId } from '../dom.js';
import { toCoco } from '../export/coco.js';
import { download, nameBeside } from '../export/names.js';
import { cutoutPng, overlayPng } from '../export/pictures.js';
import { readAnswer } from '../mask/answer.js';
import { toFields } from '../state/fields.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../picture/picture.js').Picture} Picture */
/** @typedef {import('../state/prompt.js').Thing} Thing */
/** @typedef {{ picture: Picture, things: Thing[], fields: import('../state/fields.js').PromptFields }} Asked */

export class TakeAway {
  #store;
  #session;
  #buttons = [...document.querySelectorAll('#take-away button')].filter(
    (button) => button instanceof HTMLButtonElement,
  );

  /**
   * @param {Store} store
   * @param {Session} session
   */
  constructor(store, session) {
    this.#store = store;
    this.#session = session;
    this.#on('take-mask', (asked) => this.#mask(asked));
    this.#on('take-cutout', (asked) => this.#drawn(asked, cutoutPng, 'cutout.png'));
    this.#on('take-overlay', (asked) => this.#drawn(asked, overlayPng, 'overlay.png'));
    this.#on('take-rle', (asked) => this.#coco(asked, 'rle'));
    this.#on('take-polygons', (asked) => this.#coco(asked, 'polygons'));
    store.subscribe((state, before) => {
      if (state.answer !== before.answer || state.history !== before.history) this.#render();
    });
    this.#render();
  }

  /**
   * @param {string} id
   * @param {(asked: Asked) => Promise<void>} run
   */
  #on(id, run) {
    const button = byId(id, HTMLButtonElement);
    button.addEventListener('click', async () => {
      const { picture } = this.#store.state;
      const asked = toFields(this.#store.prompt.things);
      if (!picture || !asked) return;
      button.setAttribute('aria-busy', 'true');
      try {
        await run({ picture, ...asked });
      } catch (error) {
        if (!isAbort(error)) this.#session.fail(error);
      } finally {
        button.removeAttribute('aria-busy');
      }
    });
  }

  /** @param {Asked} asked */
  async #mask(asked) {
    const answer = await this.#whole(asked);
    download(new Blob([answer.png], { type: 'image/png' }), nameBeside(asked.picture.name, 'mask.png'));
  }

  /**
   * @param {Asked} asked
   * @param {typeof cutoutPng} draw
   * @param {string} rest
   */
  async #drawn(asked, draw, rest) {
    const answer = await this.#whole(asked);
    download(await draw(asked.picture, answer, asked.things), nameBeside(asked.picture.name, rest));
  }

  /**
   * @param {Asked} asked
   * @param {'rle' | 'polygons'} format
   */
  async #coco({ picture, things, fields }, format) {
    const answered = await this.#ask(fields, { response_format: format });
    const coco = toCoco(picture, things, answered.data[0]?.segments ?? []);
    const blob = new Blob([JSON.stringify(coco)], { type: 'application/json' });
    download(blob, nameBeside(picture.name, 'coco.json'));
  }

  /**
   * All pixels of the mask: those that are shown, or, of a large picture, asked for now.
   *
   * @param {Asked} asked
   */
  async #whole({ picture, things, fields }) {
    const shown = this.#store.state.answer;
    const ids = things.map((thing) => thing.id);
    const current = shown && this.#session.isCurrent && shown.ids.join() === ids.join();
    if (current && shown.mask.width === picture.width && shown.mask.height === picture.height) return shown;
    const [data] = (await this.#ask(fields, {})).data;
    if (!data) throw new Error('The server answered no mask.');
    return readAnswer(data, ids);
  }

  /**
   * @param {import('../state/fields.js').PromptFields} fields
   * @param {import('../session/session.js').Options} options
   */
  #ask(fields, options) {
    return this.#session.segment(fields, options, 'Making the file', new AbortController().signal);
  }

  #render() {
    const nothing = !this.#store.state.picture || !toFields(this.#store.prompt.things);
    for (const button of this.#buttons) button.disabled = nothing;
  }
}
