/** One image on the server: uploaded once per model, and again after the server has dropped it. */

import { ApiError } from '../api/errors.js';
import { withRetries } from '../api/retry.js';
import { encodeAsShown } from '../image/image.js';

/** @typedef {import('../api/client.js').Client} Client */
/** @typedef {import('../api/client.js').PreparedImage} PreparedImage */
/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('./progress.js').ProgressReporter} ProgressReporter */

export class PreparedImages {
  #client;
  #image;
  #progress;
  /** @type {Blob} */
  #file;
  /** @type {Map<string, Promise<PreparedImage>>} by model */
  #prepared = new Map();
  #abort = new AbortController();

  /**
   * @param {Client} client
   * @param {SourceImage} image
   * @param {ProgressReporter} progress
   */
  constructor(client, image, progress) {
    this.#client = client;
    this.#image = image;
    this.#progress = progress;
    this.#file = image.file;
  }

  /**
   * The image prepared for a model. Concurrent calls share one upload.
   *
   * @param {string} model
   */
  get(model) {
    let prepared = this.#prepared.get(model);
    if (!prepared) {
      prepared = this.#prepare(model);
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

  /** Cancel uploads, and delete the image from the server. */
  close() {
    this.#abort.abort();
    for (const prepared of this.#prepared.values()) {
      prepared.then(({ id }) => this.#client.deleteImage(id)).catch(() => {});
    }
  }

  /** @param {string} model */
  async #prepare(model) {
    const task = this.#progress.begin('Uploading the image');
    const upload = () =>
      this.#client.prepare(this.#file, model, this.#abort.signal, (fraction) =>
        fraction < 1 ? task.update(fraction) : task.rename('Preparing the image'),
      );
    try {
      const prepared = await withRetries(() => this.#withFallback(upload), this.#abort.signal, task.onRetry);
      if (prepared.width === this.#image.width && prepared.height === this.#image.height) return prepared;
      // The server and the browser apply different orientations: upload the pixels that are shown.
      this.#file = await encodeAsShown(this.#image);
      return await withRetries(upload, this.#abort.signal, task.onRetry);
    } finally {
      task.end();
    }
  }

  /**
   * Upload the file; if the server does not read its format, upload the pixels that are shown.
   *
   * @param {() => Promise<PreparedImage>} upload
   */
  async #withFallback(upload) {
    try {
      return await upload();
    } catch (error) {
      const unsupported = error instanceof ApiError && error.status === 415 && this.#file === this.#image.file;
      if (!unsupported) throw error;
      this.#file = await encodeAsShown(this.#image);
      return upload();
    }
  }
}
