/** The buttons that export files. */

import { byId } from '../dom.js';
import { toCoco } from '../export/coco.js';
import { cutoutPng, overlayPng } from '../export/images.js';
import { download, exportName } from '../export/names.js';
import { readSegmentation } from '../mask/segmentation.js';
import { toFields } from '../state/fields.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */
/** @typedef {import('../state/fields.js').PromptFields} PromptFields */
/** @typedef {{ image: SourceImage, objects: ObjectPrompt[], fields: PromptFields }} Source */

export class ExportPanel {
  #store;
  #session;
  #buttons = [...document.querySelectorAll('#exports button')].filter(
    (button) => button instanceof HTMLButtonElement,
  );

  /**
   * @param {Store} store
   * @param {Session} session
   */
  constructor(store, session) {
    this.#store = store;
    this.#session = session;
    this.#onClick('export-mask', (source) => this.#exportMask(source));
    this.#onClick('export-cutout', (source) => this.#exportDrawing(source, cutoutPng, 'cutout.png'));
    this.#onClick('export-overlay', (source) => this.#exportDrawing(source, overlayPng, 'overlay.png'));
    this.#onClick('export-rle', (source) => this.#exportCoco(source, 'rle'));
    this.#onClick('export-polygons', (source) => this.#exportCoco(source, 'polygons'));
    store.subscribe((state, before) => {
      if (state.segmentation !== before.segmentation || state.history !== before.history) this.#render();
    });
    this.#render();
  }

  /**
   * @param {string} id
   * @param {(source: Source) => Promise<void>} run
   */
  #onClick(id, run) {
    const button = byId(id, HTMLButtonElement);
    button.addEventListener('click', async () => {
      const { image } = this.#store.state;
      const prompt = toFields(this.#store.prompt.objects);
      if (!image || !prompt) return;
      button.setAttribute('aria-busy', 'true');
      try {
        await run({ image, ...prompt });
      } catch (error) {
        this.#session.fail(error);
      } finally {
        button.removeAttribute('aria-busy');
      }
    });
  }

  /** @param {Source} source */
  async #exportMask(source) {
    const { png } = await this.#fullSegmentation(source);
    download(new Blob([png], { type: 'image/png' }), exportName(source.image.name, 'mask.png'));
  }

  /**
   * @param {Source} source
   * @param {typeof cutoutPng} draw
   * @param {string} suffix of the file's name
   */
  async #exportDrawing(source, draw, suffix) {
    const segmentation = await this.#fullSegmentation(source);
    download(await draw(source.image, segmentation, source.objects), exportName(source.image.name, suffix));
  }

  /**
   * @param {Source} source
   * @param {'rle' | 'polygons'} format
   */
  async #exportCoco({ image, objects, fields }, format) {
    const response = await this.#segment(fields, { response_format: format });
    const coco = toCoco(image, objects, response.data[0]?.segments ?? []);
    const blob = new Blob([JSON.stringify(coco)], { type: 'application/json' });
    download(blob, exportName(image.name, 'coco.json'));
  }

  /**
   * The segmentation at full resolution: the one that is shown, or, for a large image, a new one.
   *
   * @param {Source} source
   */
  async #fullSegmentation({ image, objects, fields }) {
    const shown = this.#store.state.segmentation;
    const ids = objects.map((object) => object.id);
    const isCurrent = shown && this.#session.isCurrent && shown.ids.join() === ids.join();
    if (isCurrent && shown.mask.width === image.width && shown.mask.height === image.height) return shown;
    const [mask] = (await this.#segment(fields, {})).data;
    if (!mask) throw new Error('The response has no mask.');
    return readSegmentation(mask, ids);
  }

  /**
   * @param {PromptFields} fields
   * @param {import('../session/session.js').Options} options
   */
  #segment(fields, options) {
    return this.#session.segment(fields, options, 'Exporting', new AbortController().signal);
  }

  #render() {
    const disabled = !this.#store.state.image || !toFields(this.#store.prompt.objects);
    for (const button of this.#buttons) button.disabled = disabled;
  }
}
