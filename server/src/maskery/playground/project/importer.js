/** Imports what has been exported: projects, COCO JSON and categorical masks. */

import { decodePng } from '../mask/png.js';
import { measure } from '../mask/segmentation.js';
import { encodeRle } from '../mask/rle.js';
import { UnsupportedFile } from '../session/notices.js';
import { readCoco } from './coco-file.js';
import { readProject } from './project-file.js';

/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('./project.js').Project} Project */

export class Importer {
  #store;
  #session;
  #project;

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {Project} project
   */
  constructor(store, session, project) {
    this.#store = store;
    this.#session = session;
    this.#project = project;
  }

  /**
   * Import a project (.zip), the annotations of images in the project (.json), or the mask of the image that is shown
   * (.png). What is imported is added to what is there.
   *
   * @param {File} file
   */
  async open(file) {
    const read = /\.zip$/i.test(file.name) ? this.#openProject : /\.json$/i.test(file.name) ? this.#openCoco : this.#openMask;
    try {
      await read.call(this, file);
    } catch (error) {
      const reason = error instanceof SyntaxError ? 'It is not valid JSON.' : String(/** @type {Error} */ (error).message);
      this.#session.fail(error instanceof UnsupportedFile ? error : new UnsupportedFile(file.name, reason));
    }
  }

  /** @param {File} file */
  async #openProject(file) {
    const { labels, images } = await readProject(file);
    const ids = this.#project.labelIds(labels.items.map((label) => label.name));
    const renumbered = new Map(labels.items.map((label, index) => [label.id, ids[index] ?? null]));
    for (const { work } of images) {
      const present = work.history?.present;
      for (const object of present?.objects ?? []) object.label = renumbered.get(object.label ?? 0) ?? null;
    }
    await this.#project.add(images);
  }

  /** @param {File} file */
  async #openCoco(file) {
    const { images, categories } = readCoco(JSON.parse(await file.text()));
    const labels = this.#project.labelIds(categories);
    const missing = [];
    for (const { name, width, height, masks } of images) {
      const found = this.#project.images.find((image) => image.name === name && image.width === width && image.height === height);
      if (!found) missing.push(name);
      else if (masks.length) {
        const added = masks.map(({ rle, category, score }) => ({ rle, label: labels[category] ?? null, score }));
        this.#project.edit(found.id, { type: 'add-masks', masks: added });
      }
    }
    if (missing.length === images.length) {
      throw new Error(`Open its images first, in the same size: ${list(missing)}.`);
    }
    if (missing.length) {
      throw new UnsupportedFile(list(missing), 'The other annotations have been imported. Open these images first, in the same size.');
    }
  }

  /** @param {File} file */
  async #openMask(file) {
    const { image, images } = this.#store.state;
    if (!image || !images.current) throw new Error('Open its image first.');
    const mask = await decodePng(new Uint8Array(await file.arrayBuffer()));
    if (mask.width !== image.width || mask.height !== image.height) {
      throw new Error(`It is ${mask.width} × ${mask.height} pixels, and the image ${image.width} × ${image.height}.`);
    }
    const values = new Set(mask.values);
    const masks = measure(mask, Math.max(...values)).flatMap(({ bbox }, index) =>
      bbox ? [{ rle: encodeRle(mask, index + 1, bbox), label: null, score: null }] : [],
    );
    if (!masks.length) throw new Error('It has no objects: all of its pixels are 0.');
    this.#project.edit(images.current, { type: 'add-masks', masks });
  }
}

/** @param {string[]} names */
function list(names) {
  const shown = names.slice(0, 3).join(', ');
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
