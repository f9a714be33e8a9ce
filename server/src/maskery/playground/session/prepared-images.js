/** One image on the server: uploaded once per model, and again after the server has dropped it. */

import { ApiError } from '../api/errors.js';
import { withRetries } from '../api/retry.js';
import { encodeAsShown } from '../image/image.js';
import { SILENT } from './progress.js';

/** @typedef {import('../api/client.js').Client} Client */
/** @typedef {import('../api/client.js').PreparedImage} PreparedImage */
/** @typedef {import('../image/image.js').ImageFile} ImageFile */
/** @typedef {import('./progress.js').ProgressReporter} ProgressReporter */

export class PreparedImages {
  #client;
  #image;
  #progress;
  /** @type {Promise<Blob> | null} the pixels as shown, if the server gets them in place of the file */
  #reencoded;
  /** @type {Map<string, Promise<PreparedImage>>} by model */
  #prepared = new Map();
  #abort = new AbortController();

  /**
   * @param {Client} client
   * @param {ImageFile} image
   * @param {ProgressReporter} progress
   */
  constructor(client, image, progress) {
    this.#client = client;
    this.#image = image;
    this.#progress = progress;
    this.#reencoded = image.uploadMode === 'reencode' ? encodeAsShown(image) : null;
  }

  /**
   * The image prepared for a model. Concurrent calls share one upload.
   *
   * @param {string} model
   * @param {boolean} [isShown] whether the user sees the progress
   */
  get(model, isShown = true) {
    let prepared = this.#prepared.get(model);
    if (!prepared) {
      prepared = this.#prepare(model, isShown ? this.#progress.begin('Uploading the image') : SILENT);
      this.#prepared.set(model, prepared);
      // After a failure the next call uploads again.
      prepared.catch(() => this.#prepared.delete(model));
    }
    return prepared;
  }

  /**
   * Discard an image that the server no longer has; the next `get` uploads it again.
   *
   * @param {string} model
   * @param {PreparedImage} dropped
   */
  async discard(model, dropped) {
    const current = await this.#prepared.get(model)?.catch(() => null);
    if (current === dropped) this.#prepared.delete(model);
  }

  /** Cancel uploads. The next `get` starts again. */
  cancel() {
    this.#abort.abort();
    this.#abort = new AbortController();
  }

  /** Cancel uploads, and delete the image from the server. */
  delete() {
    this.#abort.abort();
    for (const prepared of this.#prepared.values()) {
      prepared.then((image) => this.#client.deleteImage(image)).catch(() => {});
    }
  }

  /**
   * @param {string} model
   * @param {import('./progress.js').Task} task
   */
  async #prepare(model, task) {
    try {
      const prepared = await this.#uploadReadable(model, task);
      if (prepared.width === this.#image.width && prepared.height === this.#image.height) return prepared;
      // A format with another kind of orientation than EXIF.
      this.#reencoded = encodeAsShown(this.#image);
      return await this.#upload(model, task);
    } finally {
      task.end();
    }
  }

  /**
   * Upload the file; if the server does not read its format, upload the pixels as shown.
   *
   * @param {string} model
   * @param {import('./progress.js').Task} task
   */
  async #uploadReadable(model, task) {
    try {
      return await this.#upload(model, task);
    } catch (error) {
      const isUnreadable = error instanceof ApiError && error.status === 415 && !this.#reencoded;
      if (!isUnreadable) throw error;
      this.#reencoded = encodeAsShown(this.#image);
      return this.#upload(model, task);
    }
  }

  /**
   * @param {string} model
   * @param {import('./progress.js').Task} task
   */
  async #upload(model, task) {
    const { signal } = this.#abort;
    const file = (await this.#reencoded) ?? this.#image.file;
    const exif = !this.#reencoded && this.#image.uploadMode === 'ignore' ? 'ignore' : 'apply';
    const onProgress = (/** @type {number} */ fraction) =>
      fraction < 1 ? task.update(fraction) : task.rename('Preparing the image');
    return withRetries(() => this.#client.prepare(file, { model, exif }, signal, onProgress), signal, task.onRetry);
  }
}
