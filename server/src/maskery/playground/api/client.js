/** Client of the server's API. URLs are relative to the page's own. */

import { ApiError, ServerUnreachable, toApiError } from './errors.js';
import { sessionIdOf } from './session-id.js';
import { upload } from './upload.js';

/** @typedef {import('./key.js').KeyStore} KeyStore */
/** @typedef {import('../state/prompt.js').Rle} Rle */
/** @typedef {import('../state/fields.js').PromptFields} PromptFields */

/**
 * @typedef {object} PreparedImage
 * @property {string} id
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {string} sessionId by which proxies choose a server
 */

/**
 * @typedef {object} Segment
 * @property {number} value
 * @property {number[]} prompts
 * @property {number} score
 * @property {number} area
 * @property {[number, number, number, number] | null} bbox x, y, width, height
 * @property {Rle} [rle]
 */

/** @typedef {{ b64_json: string | null, width: number, height: number, segments: Segment[] }} MaskData */
/** @typedef {{ data: MaskData[] }} SegmentationResponse */

/**
 * @typedef {(PromptFields | { automatic: true }) & {
 *   model: string, image_prompt: string, size?: string, n?: number, response_format?: 'rle',
 * }} SegmentationFields
 */

/** Seconds after which the server gives up on a request. */
const REQUEST_TIMEOUT = '300';

export class Client {
  /** Whether the API needs a key; true until `connect` has found out. */
  needsKey = true;
  #keyStore;

  /** @param {KeyStore} keyStore */
  constructor(keyStore) {
    this.#keyStore = keyStore;
  }

  /** Find out whether the API needs a key. */
  async connect() {
    /** @type {{ version: string, key_needed: boolean }} */
    const server = await send('playground/server.json');
    this.needsKey = server.key_needed;
  }

  /** Names of the installed models. */
  async models() {
    /** @type {{ data: { id: string }[] }} */
    const list = await this.#request('v1/models');
    return list.data.map((model) => model.id);
  }

  /** @returns {Promise<{ max_objects: number }>} */
  limits() {
    return this.#request('v1/limits');
  }

  /**
   * Segment a prepared image.
   *
   * @param {PreparedImage} image
   * @param {Omit<SegmentationFields, 'image_prompt'>} fields
   * @param {AbortSignal} signal
   * @returns {Promise<SegmentationResponse>}
   */
  segment(image, fields, signal) {
    const body = JSON.stringify({ image_prompt: `id:${image.id}`, ...fields });
    return this.#request('v1/images/segmentations', { method: 'POST', body, signal }, image.sessionId);
  }

  /**
   * Upload an image and compute its embedding.
   *
   * @param {Blob} file
   * @param {{ model: string, exif: 'apply' | 'ignore' }} fields
   * @param {AbortSignal} signal
   * @param {(fraction: number) => void} onProgress fraction of the bytes sent, 0 to 1
   * @returns {Promise<PreparedImage>}
   */
  async prepare(file, fields, signal, onProgress) {
    const form = new FormData();
    form.append('request', JSON.stringify(fields));
    form.append('image', file, 'image');
    const sessionId = await sessionIdOf(file);
    const prepared = await upload('v1/images', form, this.#headers(sessionId), signal, onProgress);
    return { ...prepared, sessionId };
  }

  /**
   * Free the memory of a prepared image. The response is not awaited, and an error is ignored.
   *
   * @param {PreparedImage} image
   */
  deleteImage({ id, sessionId }) {
    const path = `v1/images/${encodeURIComponent(id)}`;
    this.#request(path, { method: 'DELETE', keepalive: true }, sessionId).catch(() => {});
  }

  /**
   * @param {string} path
   * @param {RequestInit} [options]
   * @param {string} [sessionId]
   */
  async #request(path, options = {}, sessionId) {
    const headers = this.#headers(sessionId);
    if (options.body) headers['content-type'] = 'application/json';
    return send(path, { ...options, headers });
  }

  /**
   * @param {string} [sessionId]
   * @returns {Record<string, string>}
   * @throws {ApiError} the server needs a key, and the user has not entered one
   */
  #headers(sessionId) {
    const { key } = this.#keyStore;
    if (!key && this.needsKey) throw new ApiError(401, 'missing_key', 'The server needs an API key.', null, null);
    return {
      'x-request-timeout': REQUEST_TIMEOUT,
      ...(sessionId && { 'x-session-id': sessionId }),
      ...(key && { authorization: `Bearer ${key}` }),
    };
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<any>} the response's JSON
 */
async function send(path, options = {}) {
  const response = await fetch(path, { ...options, cache: 'no-store' }).catch(unreachable);
  const text = await response.text().catch(unreachable);
  if (!response.ok) throw toApiError(response.status, text, (name) => response.headers.get(name));
  return text ? JSON.parse(text) : null;
}

/**
 * @param {unknown} error of `fetch`
 * @returns {never}
 */
function unreachable(error) {
  throw error instanceof TypeError ? new ServerUnreachable() : error;
}
