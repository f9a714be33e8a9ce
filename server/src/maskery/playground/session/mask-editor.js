/** Changes the mask of the selected object by hand, one change after the other. */

import { toBitmap, toRle } from '../mask/bitmap.js';
import { selectedObject } from '../state/prompt.js';
import { fullMasks } from './full-masks.js';

/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('../mask/bitmap.js').Bitmap} Bitmap */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('./session.js').Session} Session */

export class MaskEditor {
  #store;
  #session;
  /** @type {Promise<void>} */
  #last = Promise.resolve();

  /**
   * @param {Store} store
   * @param {Session} session
   */
  constructor(store, session) {
    this.#store = store;
    this.#session = session;
  }

  /**
   * Change the selected object, or a new one if there is none. Its mask is kept as it is from then on.
   *
   * @param {(bitmap: Bitmap) => void} change of the mask, at the image's full resolution
   */
  edit(change) {
    const { image } = this.#store.state;
    const id = selectedObject(this.#store.prompt)?.id ?? null;
    this.#last = this.#last.then(async () => {
      try {
        if (!image || image !== this.#store.state.image) return;
        const bitmap = await this.#bitmapOf(image, id);
        if (image !== this.#store.state.image) return;
        change(bitmap);
        this.#store.edit({ type: 'mask', id, rle: toRle(bitmap) });
      } catch (error) {
        this.#session.fail(error);
      }
    });
    return this.#last;
  }

  /**
   * The mask of an object, at full resolution; empty if it has none. Of a mask that the model found, the visible part.
   *
   * @param {SourceImage} image
   * @param {number | null} id
   * @returns {Promise<Bitmap>}
   */
  async #bitmapOf(image, id) {
    const { history, model } = this.#store.state;
    const object = history.present.objects.find((each) => each.id === id);
    if (object?.mask) return toBitmap(object.mask.rle);
    const { width, height } = image;
    const values = new Uint8Array(width * height);
    const work = { history, model, response: this.#session.response };
    const masks = object && (await fullMasks(this.#session, image, work));
    const value = masks ? masks.segmentation.ids.indexOf(object.id) + 1 : 0;
    if (value) masks?.segmentation.mask.values.forEach((each, at) => each === value && (values[at] = 1));
    return { width, height, values };
  }
}
