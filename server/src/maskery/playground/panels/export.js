/** The buttons that export files: of the image that is shown, or of all images. */

import { writeZip } from '../files/zip.js';
import { annotate, toCoco } from '../export/coco.js';
import { cutoutPng, overlayPng } from '../export/images.js';
import { fullMasks } from '../session/full-masks.js';
import { download, exportName, uniqueNames } from '../export/names.js';
import { toYolo } from '../export/yolo.js';
import { byId } from '../dom.js';
import { encodePng } from '../mask/png.js';
import { isComplete } from '../state/prompt.js';

/** @typedef {import('../session/full-masks.js').Masks} Masks */
/** @typedef {import('../project/project.js').Project} Project */
/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../state/store.js').Store} Store */

export class ExportPanel {
  #store;
  #session;
  #project;
  #scope = byId('export-scope', HTMLFieldSetElement);
  #all = byId('export-all', HTMLInputElement);
  #buttons = [...document.querySelectorAll('#exports button')].filter(
    (button) => button instanceof HTMLButtonElement,
  );

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {Project} project
   */
  constructor(store, session, project) {
    this.#store = store;
    this.#session = session;
    this.#project = project;
    this.#onClick('export-mask', () => this.#exportEach(maskPng, 'mask.png'));
    this.#onClick('export-cutout', () => this.#exportEach(cutoutPng, 'cutout.png'));
    this.#onClick('export-overlay', () => this.#exportEach((masks) => overlayPng(masks, store.state.labels), 'overlay.png'));
    this.#onClick('export-rle', () => this.#exportCoco('rle'));
    this.#onClick('export-polygons', () => this.#exportCoco('polygons'));
    this.#onClick('export-yolo', async () => {
      const images = await this.#each((masks) => annotate(masks, 'polygons'));
      download(await writeZip(toYolo(images, store.state.labels)), this.#nameFor('yolo.zip'));
    });
    store.subscribe((state, before) => {
      if (state.images !== before.images || state.history !== before.history) this.#render();
    });
    this.#scope.addEventListener('change', () => this.#render());
    this.#render();
  }

  /**
   * @param {string} id
   * @param {() => Promise<void>} run
   */
  #onClick(id, run) {
    const button = byId(id, HTMLButtonElement);
    button.addEventListener('click', async () => {
      button.setAttribute('aria-busy', 'true');
      try {
        await run();
      } catch (error) {
        this.#session.fail(error);
      } finally {
        button.removeAttribute('aria-busy');
      }
    });
  }

  /**
   * Convert the masks of the image that is shown, or of all images that have objects. One after the other, as a browser
   * has not the memory for the masks of all images at once.
   *
   * @template Result
   * @param {(masks: Masks) => Result | Promise<Result>} convert
   * @returns {Promise<Result[]>}
   */
  async #each(convert) {
    const { current } = this.#store.state.images;
    const results = [];
    for (const image of this.#project.images) {
      if (!this.#isForAll && image.id !== current) continue;
      const masks = await fullMasks(this.#session, image, this.#project.workOf(image.id));
      if (masks) results.push(await convert(masks));
    }
    return results;
  }

  /**
   * A file per image; of all images, one ZIP file.
   *
   * @param {(masks: Masks) => Promise<Blob>} encode
   * @param {string} suffix of the files' names
   */
  async #exportEach(encode, suffix) {
    const files = await this.#each(async (masks) => ({ name: masks.image.name, data: await encode(masks) }));
    const names = uniqueNames(files.map(({ name }) => name));
    if (this.#isForAll) {
      const entries = files.map(({ data }, index) => ({ name: `${names[index]}-${suffix}`, data }));
      download(await writeZip(entries), `maskery-${suffix.replace('.png', 's.zip')}`);
    } else if (files[0]) download(files[0].data, exportName(files[0].name, suffix));
  }

  /** @param {'rle' | 'polygons'} encoding */
  async #exportCoco(encoding) {
    const images = await this.#each((masks) => annotate(masks, encoding));
    const content = JSON.stringify(toCoco(images, this.#store.state.labels));
    download(new Blob([content], { type: 'application/json' }), this.#nameFor(`coco-${encoding}.json`));
  }

  /** @param {string} suffix */
  #nameFor(suffix) {
    return this.#isForAll ? `maskery-${suffix}` : exportName(this.#store.state.image?.name ?? '', suffix);
  }

  get #isForAll() {
    return this.#all.checked && !this.#scope.hidden;
  }

  #render() {
    const { images, history } = this.#store.state;
    this.#scope.hidden = images.items.length < 2;
    const isReady = this.#isForAll
      ? images.items.some((item) => item.objects > 0)
      : images.current !== null && history.present.objects.some(isComplete);
    for (const button of this.#buttons) button.disabled = !isReady;
    byId('export-code', HTMLButtonElement).disabled ||= !history.present.objects.some((object) => isComplete(object) && !object.mask);
  }
}

/** @param {Masks} masks */
async function maskPng({ segmentation: { png, mask } }) {
  return new Blob([png ?? (await encodePng(mask))], { type: 'image/png' });
}
