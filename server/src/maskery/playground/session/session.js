/** Requests the segmentation of the current prompt whenever image, model or prompt change. */

import { ApiError, isAbort } from '../api/errors.js';
import { retryNow, withRetries } from '../api/retry.js';
import { openImage } from '../image/image.js';
import { readSegmentation } from '../mask/segmentation.js';
import { toFields } from '../state/fields.js';
import { toNotice } from './notices.js';
import { PreparedImages } from './prepared-images.js';
import { ProgressReporter } from './progress.js';

/** @typedef {import('../api/client.js').Client} Client */
/** @typedef {import('../api/client.js').SegmentationResponse} SegmentationResponse */
/** @typedef {import('../state/fields.js').PromptFields} PromptFields */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */

/** @typedef {{ size?: string, n?: number, response_format?: 'rle' | 'polygons' }} Options */

/** Pixels of the mask that is shown; exports have the image's full resolution. */
const MAX_MASK_PIXELS = 1_500_000;

/** Segmentations that are cached, so that undo and redo need no request. */
const MAX_CACHED = 24;

/** Models that are selected by default, in order of preference. */
const DEFAULT_MODELS = ['maskery/nano', 'maskery/grabcut'];

export class Session {
  #store;
  #client;
  #askKey;
  #choose;
  #progress;
  /** @type {PreparedImages | null} */
  #prepared = null;
  /** @type {Map<string, Segmentation>} by the request's fields */
  #cache = new Map();
  /** @type {Promise<void> | null} null until it is needed, and after a failure */
  #connection = null;
  #sequence = 0;
  #opening = 0;
  #abort = new AbortController();
  #requested = '';

  /**
   * @param {Store} store
   * @param {Client} client
   * @param {{ askKey: (reason: string) => void, choose: () => void }} dialogs
   */
  constructor(store, client, { askKey, choose }) {
    this.#store = store;
    this.#client = client;
    this.#askKey = askKey;
    this.#choose = choose;
    this.#progress = new ProgressReporter(store, retryNow);
    store.subscribe((state, before) => {
      if (state.model !== before.model) this.#prepareImage();
      this.#update(state);
    });
  }

  /** Load the models and limits of the server, unless that has been done. */
  async connect() {
    await this.#connect().catch((error) => this.fail(error));
  }

  /**
   * Open an image in place of the current one.
   *
   * @param {Blob | Promise<Blob>} file
   * @param {string} name
   */
  async open(file, name) {
    const opening = (this.#opening += 1);
    const task = this.#progress.begin('Opening the image');
    try {
      const image = await openImage(await file, name);
      if (opening !== this.#opening) return;
      this.#prepared?.close();
      this.#prepared = new PreparedImages(this.#client, image, this.#progress);
      this.#cache.clear();
      this.#requested = '';
      this.#store.dispatch({ type: 'image', image });
      this.#prepareImage();
    } catch (error) {
      this.fail(error);
    } finally {
      task.end();
    }
  }

  /** Connect again, for example with another API key, and repeat the request of the current prompt. */
  retry() {
    this.#connection = null;
    this.#requested = '';
    this.#store.dispatch({ type: 'notice', notice: null });
    void this.connect();
    this.#prepareImage();
    this.#update(this.#store.state);
  }

  /**
   * Segment the current image. The image is uploaded again if the server has dropped it, and the request is retried
   * while the server is busy or unreachable.
   *
   * @param {PromptFields} fields
   * @param {Options} options
   * @param {string} text shown while waiting
   * @param {AbortSignal} signal
   */
  async segment(fields, options, text, signal) {
    await cancellable(this.#connect(), signal);
    const images = this.#prepared;
    const { model } = this.#store.state;
    if (!images) throw new Error('Open an image first.');
    if (!model) throw new Error('The server has no models.');
    const prepare = () => cancellable(images.get(model), signal);
    let prepared = await prepare();
    const task = this.#progress.begin(text);
    try {
      for (let uploads = 1; ; uploads += 1) {
        const image = prepared;
        try {
          const request = () => this.#client.segment(image, { model, ...fields, ...options }, signal);
          return await withRetries(request, signal, task.onRetry);
        } catch (error) {
          if (!(error instanceof ApiError && error.code === 'image_not_prepared') || uploads > 3) throw error;
          await images.discard(model, prepared);
          prepared = await prepare();
        }
      }
    } finally {
      task.end();
    }
  }

  /** Whether the segmentation that is shown belongs to the current prompt. */
  get isCurrent() {
    return this.#cache.get(this.#requested) === this.#store.state.segmentation;
  }

  /**
   * Show an error: a notice, or the key dialog if the API key was refused. Cancelled requests are ignored.
   *
   * @param {unknown} error
   */
  fail(error) {
    if (isAbort(error)) return;
    if (error instanceof ApiError && error.status === 401) {
      this.#askKey(error.code === 'missing_key' ? '' : error.message);
      return;
    }
    const notice = toNotice(error, { retry: () => this.retry(), choose: this.#choose });
    this.#store.dispatch({ type: 'notice', notice });
  }

  /** Show that nothing can be requested without an API key. */
  reportMissingKey() {
    const action = { label: 'Enter an API key', run: () => this.#askKey('') };
    const text = 'The server needs one to segment images.';
    this.#store.dispatch({ type: 'notice', notice: { kind: 'error', title: 'No API key.', text, action } });
  }

  #connect() {
    this.#connection ??= this.#loadModels().catch((error) => {
      this.#connection = null;
      throw error;
    });
    return this.#connection;
  }

  async #loadModels() {
    const task = this.#progress.begin('Connecting');
    const { signal } = new AbortController();
    try {
      const models = await withRetries(() => this.#client.models(), signal, task.onRetry);
      const { model } = this.#store.state;
      const selected = [model, ...DEFAULT_MODELS, ...models].find((name) => models.includes(name)) ?? '';
      this.#store.dispatch({ type: 'models', models, model: selected });
      const limits = await withRetries(() => this.#client.limits(), signal, task.onRetry);
      this.#store.dispatch({ type: 'limits', maxObjects: Math.min(limits.max_objects, 255) });
    } finally {
      task.end();
    }
  }

  #prepareImage() {
    const { model } = this.#store.state;
    if (model) this.#prepared?.get(model).catch((error) => this.fail(error));
  }

  /** @param {State} state */
  #update(state) {
    const { image, model } = state;
    if (!image) return;
    const prompt = toFields(state.history.present.objects);
    const requested = JSON.stringify([model, prompt?.objects.map((object) => object.id), prompt?.fields]);
    if (requested === this.#requested) return;
    this.#requested = requested;
    this.#sequence += 1;
    this.#abort.abort();
    const cached = this.#cache.get(requested);
    if (!prompt || cached) {
      this.#store.dispatch({ type: 'segmentation', segmentation: cached ?? null });
      return;
    }
    this.#abort = new AbortController();
    const ids = prompt.objects.map((object) => object.id);
    void this.#request(this.#sequence, requested, prompt.fields, ids, this.#abort.signal);
  }

  /**
   * @param {number} sequence the response is dropped if a later request has been sent
   * @param {string} requested key of the cache
   * @param {PromptFields} fields
   * @param {number[]} ids of the objects in the request
   * @param {AbortSignal} signal
   */
  async #request(sequence, requested, fields, ids, signal) {
    try {
      const response = await this.segment(fields, this.#maskSize(), 'Segmenting', signal);
      const [mask] = response.data;
      if (!mask) throw new Error('The response has no mask.');
      const segmentation = await readSegmentation(mask, ids);
      if (sequence !== this.#sequence) return;
      this.#addToCache(requested, segmentation);
      if (this.#store.state.notice) this.#store.dispatch({ type: 'notice', notice: null });
      this.#store.dispatch({ type: 'segmentation', segmentation });
    } catch (error) {
      if (sequence === this.#sequence) this.fail(error);
    }
  }

  /** @returns {Options} */
  #maskSize() {
    const image = this.#store.state.image;
    const scale = image ? Math.sqrt(MAX_MASK_PIXELS / (image.width * image.height)) : 1;
    if (!image || scale >= 1) return {};
    const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
    return { size: `${width}x${height}` };
  }

  /**
   * @param {string} requested
   * @param {Segmentation} segmentation
   */
  #addToCache(requested, segmentation) {
    this.#cache.set(requested, segmentation);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= MAX_CACHED) break;
      this.#cache.delete(oldest);
    }
  }
}

/**
 * The promise, rejected as soon as the signal is aborted. Its operation goes on.
 *
 * @template Value
 * @param {Promise<Value>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<Value>}
 */
function cancellable(promise, signal) {
  return new Promise((resolve, reject) => {
    const cancel = () => reject(new DOMException('The request was cancelled.', 'AbortError'));
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    promise.then(resolve, reject);
  });
}
