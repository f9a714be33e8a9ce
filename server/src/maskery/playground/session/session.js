/** Requests the segmentation of the current prompt whenever image, model or prompt change. */

import { ApiError, isAbort } from '../api/errors.js';
import { withRetries } from '../api/retry.js';
import { readSegmentation, withFixedMasks } from '../mask/segmentation.js';
import { toFields } from '../state/fields.js';
import { toNotice } from './notices.js';
import { PreparedImages } from './prepared-images.js';

/** @typedef {import('./progress.js').ProgressReporter} ProgressReporter */
/** @typedef {import('../api/client.js').Client} Client */
/** @typedef {import('../api/client.js').SegmentationResponse} SegmentationResponse */
/** @typedef {import('../state/fields.js').PromptFields} PromptFields */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../state/history.js').History} History */
/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('../image/image.js').ImageFile} ImageFile */
/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */
/** @typedef {import('../project/storage.js').SavedResponse} SavedResponse */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */

/** @typedef {{ found: Segmentation, saved: SavedResponse }} Response */
/** @typedef {{ automatic: true }} AutomaticFields everything in the image */

/** @typedef {{ size?: string, n?: number, response_format?: 'rle' }} Options */

/**
 * Pixels of the mask that is shown: about those of the stage on a screen. More would cost the server and the page time at
 * every click. Exports have the image's full resolution.
 */
const MAX_MASK_PIXELS = 800_000;

/** Responses that are cached, so that undo and redo need no request. */
const MAX_CACHED = 24;

/** Models that are selected by default, in order of preference. */
const DEFAULT_MODELS = ['maskery/nano', 'maskery/grabcut'];

export class Session {
  #store;
  #client;
  #askKey;
  #choose;
  #progress;
  /** @type {Map<string, PreparedImages>} by the image's id */
  #prepared = new Map();
  /** @type {Map<string, Response>} of the image that is shown, by the request's fields */
  #cache = new Map();
  /** @type {Promise<void> | null} null until it is needed, and after a failure */
  #connection = null;
  #sequence = 0;
  #abort = new AbortController();
  #requested = '';
  /** @type {Segmentation | null} the latest response; that of an earlier prompt while a request is pending */
  #found = null;
  /** @type {unknown[]} what the segmentation that is shown was composed of */
  #composed = [];

  /**
   * @param {Store} store
   * @param {Client} client
   * @param {ProgressReporter} progress
   * @param {{ askKey: (reason: string) => void, choose: () => void }} dialogs
   */
  constructor(store, client, progress, { askKey, choose }) {
    this.#store = store;
    this.#client = client;
    this.#progress = progress;
    this.#askKey = askKey;
    this.#choose = choose;
    store.subscribe((state, before) => {
      if (state.image !== before.image) return;
      if (state.model !== before.model) this.#prepareImage();
      if (state.history !== before.history || state.model !== before.model) this.#update(state);
    });
  }

  /** Load the models and limits of the server, unless that has been done. */
  async connect() {
    await this.#connect().catch((error) => this.fail(error));
  }

  /**
   * Show an image of the project in place of the current one.
   *
   * @param {SourceImage | null} image
   * @param {{ history: History, model: string, response: SavedResponse | null }} work
   */
  async show(image, { history, model, response }) {
    const found = response && (await readSegmentation(response.data, response.ids).catch(() => null));
    this.#abort.abort();
    // Uploads of images that the user has left behind would delay this one's.
    for (const [id, images] of this.#prepared) if (id !== image?.id) images.cancel();
    this.#sequence += 1;
    this.#cache.clear();
    this.#requested = '';
    this.#found = null;
    this.#composed = [];
    if (response && found) this.#cache.set(response.requested, { found, saved: response });
    this.#store.dispatch({ type: 'image', image, history, model: model || this.#store.state.model });
    this.#prepareImage();
    this.#update(this.#store.state);
  }

  /**
   * Have the server encode an image that may be shown next.
   *
   * @param {ImageFile} image
   */
  prepareAhead(image) {
    const { model } = this.#store.state;
    // A failure is reported when the image is shown.
    if (model) this.#imagesOf(image).get(model, false).catch(() => {});
  }

  /**
   * Delete an image from the server.
   *
   * @param {string} id
   */
  forget(id) {
    this.#prepared.get(id)?.delete();
    this.#prepared.delete(id);
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
   * Segment the image that is shown.
   *
   * @param {PromptFields | AutomaticFields} fields
   * @param {Options} options
   * @param {string} text shown while waiting
   * @param {AbortSignal} signal
   */
  async segment(fields, options, text, signal) {
    await cancellable(this.#connect(), signal);
    const { image, model } = this.#store.state;
    if (!image) throw new Error('Open an image first.');
    return this.segmentImage(image, model, fields, options, text, signal);
  }

  /**
   * Segment an image of the project. It is uploaded again if the server has dropped it, and the request is retried while
   * the server is busy or unreachable.
   *
   * @param {ImageFile} image
   * @param {string} model
   * @param {PromptFields | AutomaticFields} fields
   * @param {Options} options
   * @param {string} text shown while waiting
   * @param {AbortSignal} signal
   */
  async segmentImage(image, model, fields, options, text, signal) {
    await cancellable(this.#connect(), signal);
    if (!model) throw new Error('The server has no models.');
    const images = this.#imagesOf(image);
    const task = this.#progress.begin(text);
    try {
      for (let uploads = 1; ; uploads += 1) {
        const prepared = await cancellable(images.get(model), signal);
        try {
          const request = () => this.#client.segment(prepared, { model, ...fields, ...options }, signal);
          return await withRetries(request, signal, task.onRetry);
        } catch (error) {
          if (!(error instanceof ApiError && error.code === 'image_not_prepared') || uploads > 3) throw error;
          await images.discard(model, prepared);
        }
      }
    } finally {
      task.end();
    }
  }

  /** The response to the current prompt; null if there is none yet, or if no object needs the model. */
  get response() {
    return this.#cache.get(this.#requested)?.saved ?? null;
  }

  /** Whether the segmentation that is shown belongs to the current prompt. */
  get isCurrent() {
    return (this.#cache.get(this.#requested)?.found ?? null) === this.#found;
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
      // The model of an image that has been worked on stays selected, whether it is installed or not.
      const selected = this.#store.state.model || [...DEFAULT_MODELS, ...models].find((name) => models.includes(name));
      this.#store.dispatch({ type: 'models', models, model: selected ?? '' });
      const limits = await withRetries(() => this.#client.limits(), signal, task.onRetry);
      this.#store.dispatch({ type: 'limits', maxObjects: Math.min(limits.max_objects, 255) });
    } finally {
      task.end();
    }
  }

  #prepareImage() {
    const { image, model } = this.#store.state;
    if (image && model) this.#imagesOf(image).get(model).catch((error) => this.fail(error));
  }

  /** @param {ImageFile} image */
  #imagesOf(image) {
    const images = this.#prepared.get(image.id) ?? new PreparedImages(this.#client, image, this.#progress);
    this.#prepared.set(image.id, images);
    return images;
  }

  /** @param {State} state */
  #update(state) {
    const { image, model } = state;
    if (!image) return;
    const prompt = toFields(state.history.present.objects);
    const requested = requestKey(model, prompt);
    if (requested !== this.#requested) this.#request(requested, prompt);
    this.#compose(state);
  }

  /**
   * Take the response to a prompt from the cache, or request it.
   *
   * @param {string} requested key of the cache
   * @param {{ objects: ObjectPrompt[], fields: PromptFields } | null} prompt
   */
  #request(requested, prompt) {
    this.#requested = requested;
    this.#sequence += 1;
    this.#abort.abort();
    const cached = this.#cache.get(requested);
    if (!prompt || cached) {
      this.#found = cached?.found ?? null;
      return;
    }
    this.#abort = new AbortController();
    const ids = prompt.objects.map((object) => object.id);
    void this.#receive(this.#sequence, requested, prompt.fields, ids, this.#abort.signal);
  }

  /**
   * @param {number} sequence the response is dropped if a later request has been sent
   * @param {string} requested key of the cache
   * @param {PromptFields} fields
   * @param {number[]} ids of the objects in the request
   * @param {AbortSignal} signal
   */
  async #receive(sequence, requested, fields, ids, signal) {
    try {
      const response = await this.segment(fields, this.#maskSize(), 'Segmenting', signal);
      const [data] = response.data;
      if (!data) throw new Error('The response has no mask.');
      const found = await readSegmentation(data, ids, this.#found);
      if (sequence !== this.#sequence) return;
      this.#found = found;
      this.#addToCache(requested, { found, saved: { requested, ids, data } });
      if (this.#store.state.notice) this.#store.dispatch({ type: 'notice', notice: null });
      this.#compose(this.#store.state);
    } catch (error) {
      if (sequence === this.#sequence) this.fail(error);
    }
  }

  /**
   * Show the masks that the model found below the fixed masks of objects.
   *
   * @param {State} state
   */
  #compose({ image, history }) {
    if (!image) return;
    const { objects } = history.present;
    const parts = [this.#found, ...objects.flatMap((object) => (object.mask ? [object.id, object.mask] : []))];
    if (parts.length === this.#composed.length && parts.every((part, index) => part === this.#composed[index])) return;
    this.#composed = parts;
    const segmentation = withFixedMasks(this.#found, objects, maskSize(image), this.#store.state.segmentation);
    this.#store.dispatch({ type: 'segmentation', segmentation });
  }

  /** @returns {Options} */
  #maskSize() {
    const image = this.#store.state.image;
    if (!image) return {};
    const { width, height } = maskSize(image);
    return width === image.width && height === image.height ? {} : { size: `${width}x${height}` };
  }

  /**
   * @param {string} requested
   * @param {Response} response
   */
  #addToCache(requested, response) {
    this.#cache.set(requested, response);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= MAX_CACHED) break;
      this.#cache.delete(oldest);
    }
  }
}

/**
 * A key for the response to a prompt.
 *
 * @param {string} model
 * @param {ReturnType<typeof toFields>} prompt
 */
export function requestKey(model, prompt) {
  return JSON.stringify([model, prompt?.objects.map((object) => object.id), prompt?.fields]);
}

/**
 * The size at which the mask of an image is shown.
 *
 * @param {{ width: number, height: number }} image
 */
export function maskSize({ width, height }) {
  const scale = Math.min(1, Math.sqrt(MAX_MASK_PIXELS / (width * height)));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
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
