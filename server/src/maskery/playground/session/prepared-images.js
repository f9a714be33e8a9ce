/** One picture as the server has it: sent once for each model, and again when the server has forgotten it. */

import { ApiError } from '../api/errors.js';
import { persistently } from '../api/retry.js';
import { asShown } from '../picture/picture.js';

/** @typedef {import('../api/client.js').Client} Client */
/** @typedef {import('../api/client.js').Prepared} Prepared */
/** @typedef {import('../picture/picture.js').Picture} Picture */
/** @typedef {import('./reporter.js').Reporter} Reporter */

export class Preparations {
  #client;
  #picture;
  #report;
  /** @type {Blob} */
  #file;
  /** @type {Map<string, Promise<Prepared>>} by model */
  #prepared = new Map();
  #abort = new AbortController();

  /**
   * @param {Client} client
   * @param {Picture} picture
   * @param {Reporter} report
   */
  constructor(client, picture, report) {
    this.#client = client;
    this.#picture = picture;
    this.#report = report;
    this.#file = picture.file;
  }

  /**
   * Many may wait for the same.
   *
   * @param {string} model
   */
  get(model) {
    let prepared = this.#prepared.get(model);
    if (!prepared) {
      prepared = this.#prepare(model);
      this.#prepared.set(model, prepared);
      // What has failed is tried anew by whoever asks next.
      prepared.catch(() => this.#prepared.delete(model));
    }
    return prepared;
  }

  /**
   * The server knows it no longer.
   *
   * @param {string} model
   * @param {Prepared} gone
   */
  async drop(model, gone) {
    const known = await this.#prepared.get(model)?.catch(() => null);
    if (known === gone) this.#prepared.delete(model);
  }

  /** Nobody wants it any more. */
  close() {
    this.#abort.abort();
    for (const prepared of this.#prepared.values()) {
      prepared.then(({ id }) => this.#client.forget(id)).catch(() => {});
    }
  }

  /** @param {string} model */
  async #prepare(model) {
    const task = this.#report.begin('Sending the picture');
    const send = () =>
      this.#client.prepare(this.#file, model, this.#abort.signal, (share) =>
        share < 1 ? task.progress(share) : task.rename('Preparing the picture'),
      );
    try {
      const prepared = await persistently(() => this.#readably(send), this.#abort.signal, task.waiting);
      if (prepared.width === this.#picture.width && prepared.height === this.#picture.height) return prepared;
      // The two disagree on which way is up: what is seen here is what is meant.
      this.#file = await asShown(this.#picture);
      return await persistently(send, this.#abort.signal, task.waiting);
    } finally {
      task.end();
    }
  }

  /**
   * A format that only this browser reads is sent as the pixels that it shows.
   *
   * @param {() => Promise<Prepared>} send
   */
  async #readably(send) {
    try {
      return await send();
    } catch (error) {
      const foreign = error instanceof ApiError && error.status === 415 && this.#file === this.#picture.file;
      if (!foreign) throw error;
      this.#file = await asShown(this.#picture);
      return send();
    }
  }
}
