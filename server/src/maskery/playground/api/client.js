/** The server's API, as far as the page needs it. Addresses are relative to the page's own. */

import { Unreachable, toApiError } from './errors.js';
import { upload } from './upload.js';

/** @typedef {import('./key.js').Keyring} Keyring */
/** @typedef {import('../state/prompt.js').Rle} Rle */
/** @typedef {import('../state/fields.js').PromptFields} PromptFields */

/** @typedef {{ id: string, width: number, height: number }} Prepared */

/**
 * @typedef {object} Segment
 * @property {number} value
 * @property {number[]} prompts
 * @property {number} score
 * @property {number} area
 * @property {[number, number, number, number] | null} bbox x, y, width, height
 * @property {Rle} [rle]
 * @property {[number, number][][][]} [polygons]
 */

/** @typedef {{ b64_json: string | null, width: number, height: number, segments: Segment[] }} MaskData */
/** @typedef {{ data: MaskData[] }} Segmentation */

/**
 * @typedef {PromptFields & {
 *   model: string, image_prompt: string, size?: string, n?: number,
 *   response_format?: 'b64_json' | 'rle' | 'polygons',
 * }} SegmentationFields
 */

/** Seconds that a person is expected to wait for a picture or a mask at most. */
const PATIENCE = '300';

export class Client {
  #keyring;

  /** @param {Keyring} keyring */
  constructor(keyring) {
    this.#keyring = keyring;
  }

  /** What can be known of the server without a key. */
  async server() {
    /** @type {{ version: string, key_needed: boolean }} */
    const answer = await this.#send('playground/server.json');
    return answer;
  }

  /** Names of the models that can be asked for. */
  async models() {
    /** @type {{ data: { id: string }[] }} */
    const answer = await this.#send('v1/models');
    return answer.data.map((model) => model.id);
  }

  async limits() {
    /** @type {{ max_objects: number }} */
    const answer = await this.#send('v1/limits');
    return answer;
  }

  /**
   * @param {SegmentationFields} fields
   * @param {AbortSignal} signal
   * @returns {Promise<Segmentation>}
   */
  segment(fields, signal) {
    return this.#send('v1/images/segmentations', { method: 'POST', body: JSON.stringify(fields), signal });
  }

  /**
   * @param {Blob} file
   * @param {string} model
   * @param {AbortSignal} signal
   * @param {(share: number) => void} progress of the upload, 0 to 1
   * @returns {Promise<Prepared>}
   */
  prepare(file, model, signal, progress) {
    const form = new FormData();
    form.append('request', JSON.stringify({ model }));
    form.append('image', file, 'image');
    return upload('v1/images', form, this.#headers(), signal, progress);
  }

  /**
   * Let the server have its memory back. Nobody waits for it, and it need not succeed.
   *
   * @param {string} id
   */
  forget(id) {
    this.#send(`v1/images/${encodeURIComponent(id)}`, { method: 'DELETE', keepalive: true }).catch(() => {});
  }

  /** @returns {Record<string, string>} */
  #headers() {
    const key = this.#keyring.key;
    return { 'x-request-timeout': PATIENCE, ...(key && { authorization: `Bearer ${key}` }) };
  }

  /**
   * @param {string} path
   * @param {RequestInit} [options]
   * @returns {Promise<any>} the answer's JSON
   */
  async #send(path, options = {}) {
    const headers = { ...this.#headers(), ...(options.body ? { 'content-type': 'application/json' } : {}) };
    const response = await fetch(path, { ...options, headers, cache: 'no-store' }).catch((error) => {
      throw error instanceof TypeError ? new Unreachable() : error;
    });
    const text = await response.text().catch((error) => {
      throw error instanceof TypeError ? new Unreachable() : error;
    });
    if (!response.ok) throw toApiError(response.status, text, (name) => response.headers.get(name));
    return text ? JSON.parse(text) : null;
  }
}
