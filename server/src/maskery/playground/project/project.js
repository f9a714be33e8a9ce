/** The project: its images and what has been done with each, kept in the browser while the user works. */

import { createThumbnail, decodeImage, openImage } from '../image/image.js';
import { EMPTY_HISTORY, reduceHistory } from '../state/history.js';
import { imageAfter } from '../state/images.js';
import { NO_LABELS, labelNamed } from '../state/labels.js';
import { isBlank } from '../state/prompt.js';
import { openStorage } from './storage.js';
import { Tabs } from './tabs.js';

/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('../session/progress.js').ProgressReporter} ProgressReporter */
/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../state/history.js').History} History */
/** @typedef {import('../state/history.js').HistoryAction} HistoryAction */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('./storage.js').ImageRecord} ImageRecord */
/** @typedef {import('./storage.js').WorkRecord} WorkRecord */
/** @typedef {import('./storage.js').Storage} Storage */

/** @typedef {{ file: Blob, name: string, work?: Partial<WorkRecord> }} NewImage */

/** Milliseconds after a change before it is saved. */
const SAVE_DELAY = 200;
/** Milliseconds before the next image is decoded and prepared, so that the one that is shown comes first. */
const AHEAD_DELAY = 300;
const THUMBNAIL_SIDE = 160;

export class Project {
  #store;
  #session;
  #progress;
  /** @type {Storage | null} null if the browser does not allow one */
  #storage = null;
  /** @type {Tabs | null} null without a storage: then each tab has a project of its own */
  #tabs = null;
  /** @type {Map<string, ImageRecord>} by id, in order */
  #images = new Map();
  /** @type {Map<string, WorkRecord>} by id of the image */
  #work = new Map();
  /** @type {{ images: Set<string>, work: Set<string>, project: boolean }} what has changed since it was saved */
  #changed = { images: new Set(), work: new Set(), project: false };
  #saveTimer = 0;
  /** @type {Promise<void>} */
  #saving = Promise.resolve();
  /** @type {{ id: string, image: Promise<SourceImage> } | null} the image that may be shown next */
  #ahead = null;
  #aheadTimer = 0;
  #showing = 0;

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {ProgressReporter} progress
   */
  constructor(store, session, progress) {
    this.#store = store;
    this.#session = session;
    this.#progress = progress;
    store.subscribe((state, before) => this.#note(state, before));
    addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && void this.#save());
    addEventListener('pagehide', () => void this.#save());
    addEventListener('beforeunload', (event) => {
      if (this.#store.state.unsaved && this.#hasObjects) event.preventDefault();
    });
  }

  /** Load the project that the browser has kept. */
  async start() {
    try {
      this.#storage = await openStorage();
      this.#tabs = new Tabs({ onClaimed: () => this.#save(), onReturn: () => void this.#restore() });
      await this.#tabs.claim();
      await this.#restore();
    } catch (error) {
      this.#reportUnsaved(error);
    }
  }

  /**
   * Add images, and show the first of them. Files that the browser cannot decode are reported and left out.
   *
   * @param {(NewImage | Promise<NewImage>)[]} files
   */
  async add(files) {
    const task = this.#progress.begin('Opening the image');
    /** @type {unknown} */
    let failure = null;
    let shown = false;
    void navigator.storage?.persist?.().catch(() => {});
    try {
      for (const [index, pending] of files.entries()) {
        if (files.length > 1) task.rename(`Opening image ${index + 1} of ${files.length}`);
        try {
          const { file, name, work } = await pending;
          const image = await openImage(crypto.randomUUID?.() ?? randomId(), file, name);
          await this.#addImage(image, work);
          if (shown) image.bitmap.close();
          else await this.#show(image);
          shown = true;
        } catch (error) {
          failure ??= error;
        }
      }
    } finally {
      task.end();
    }
    if (failure) this.#session.fail(failure);
    this.#lookAhead();
  }

  /**
   * Show an image of the project.
   *
   * @param {string} id
   */
  async show(id) {
    const record = this.#images.get(id);
    if (!record || this.#store.state.images.current === id) return;
    const showing = (this.#showing += 1);
    const task = this.#progress.begin('Opening the image');
    try {
      const ahead = this.#ahead?.id === id ? this.#ahead.image : null;
      const image = (await ahead?.catch(() => null)) ?? (await decodeImage(record));
      if (ahead) this.#ahead = null;
      if (showing !== this.#showing) image.bitmap.close();
      else await this.#show(image);
    } catch (error) {
      this.#session.fail(error);
    } finally {
      task.end();
    }
    this.#lookAhead();
  }

  /**
   * Show the image a number of steps after the current one, if there is one.
   *
   * @param {number} step
   */
  async go(step) {
    const item = imageAfter(this.#store.state.images, step);
    if (item) await this.show(item.id);
  }

  /**
   * Mark an image as done or not done.
   *
   * @param {string} id
   * @param {boolean} done
   */
  setDone(id, done) {
    this.#changeWork(id, { done });
    this.#store.dispatch({ type: 'images', action: { type: 'change', id, change: { done } } });
  }

  /**
   * Change the objects of an image, whether it is shown or not.
   *
   * @param {string} id
   * @param {HistoryAction} action
   */
  edit(id, action) {
    if (this.#store.state.images.current === id) {
      this.#store.edit(action);
      return;
    }
    const work = this.workOf(id);
    const history = reduceHistory(work.history, action);
    this.#changeWork(id, { history });
    this.#store.dispatch({ type: 'images', action: { type: 'change', id, change: { objects: countObjects(history) } } });
  }

  /**
   * Delete an image and what has been done with it.
   *
   * @param {string} id
   */
  async delete(id) {
    const { images } = this.#store.state;
    const neighbour = images.current === id ? (imageAfter(images, 1) ?? imageAfter(images, -1)) : undefined;
    if (neighbour) await this.show(neighbour.id);
    this.#images.delete(id);
    this.#work.delete(id);
    this.#session.forget(id);
    this.#store.dispatch({ type: 'images', action: { type: 'delete', id } });
    if (this.#store.state.image?.id === id) await this.#showNothing();
    this.#changed.images.delete(id);
    this.#changed.work.delete(id);
    await this.#enqueue((storage) => storage.delete(id));
  }

  /** Delete all images and labels. */
  async clear() {
    for (const id of [...this.#images.keys()].reverse()) {
      if (id !== this.#store.state.images.current) await this.delete(id);
    }
    const { current } = this.#store.state.images;
    if (current) await this.delete(current);
    this.#store.dispatch({ type: 'labels', action: { type: 'restore', labels: NO_LABELS } });
  }

  /** The images in order. */
  get images() {
    return [...this.#images.values()];
  }

  /**
   * What has been done with an image.
   *
   * @param {string} id
   * @returns {WorkRecord}
   */
  workOf(id) {
    const { images, history, model } = this.#store.state;
    const work = this.#work.get(id) ?? { id, history: EMPTY_HISTORY, model: '', done: false, response: null };
    return images.current === id ? { ...work, history, model, response: this.#session.response ?? work.response } : work;
  }

  /**
   * Ids of the labels with these names, which are created if needed.
   *
   * @param {string[]} names
   */
  labelIds(names) {
    for (const name of names) this.#store.dispatch({ type: 'labels', action: { type: 'add', name } });
    return names.map((name) => labelNamed(this.#store.state.labels, name)?.id ?? null);
  }

  /**
   * @param {SourceImage} image
   * @param {Partial<WorkRecord>} [work]
   */
  async #addImage(image, work = {}) {
    const { id, file, name, width, height, uploadMode } = image;
    const order = 1 + Math.max(0, ...[...this.#images.values()].map((each) => each.order));
    const thumbnail = await createThumbnail(image, THUMBNAIL_SIDE);
    const record = { id, order, file, name, width, height, uploadMode, thumbnail };
    this.#images.set(id, record);
    if (work.history) this.#work.set(id, { id, history: EMPTY_HISTORY, model: '', done: false, response: null, ...work });
    this.#store.dispatch({ type: 'images', action: { type: 'add', item: this.#itemOf(record) } });
    this.#changed.images.add(id);
    if (work.history) this.#changed.work.add(id);
    await this.#save();
  }

  /** @param {ImageRecord} record */
  #itemOf({ id, name, width, height, thumbnail }) {
    const work = this.#work.get(id);
    const objects = work ? countObjects(work.history) : 0;
    return { id, name, width, height, done: work?.done ?? false, objects, thumbnail: URL.createObjectURL(thumbnail) };
  }

  /** @param {SourceImage} image */
  async #show(image) {
    await this.#save();
    const { history, model, response } = this.workOf(image.id);
    await this.#session.show(image, { history, model, response });
  }

  async #showNothing() {
    await this.#session.show(null, { history: EMPTY_HISTORY, model: '', response: null });
  }

  /** Load what is in the storage, in place of what is shown. */
  async #restore() {
    // What could not be saved is newer.
    if (!this.#storage || this.#store.state.unsaved) return;
    const { project, images, work } = await this.#storage.load();
    const { items: shown, current } = this.#store.state.images;
    for (const item of shown) URL.revokeObjectURL(item.thumbnail);
    this.#images = new Map(images.map((record) => [record.id, record]));
    this.#work = new Map(work.map((record) => [record.id, record]));
    const items = images.map((record) => this.#itemOf(record));
    this.#store.dispatch({ type: 'images', action: { type: 'restore', images: { items, current: null } } });
    this.#store.dispatch({ type: 'labels', action: { type: 'restore', labels: project?.labels ?? NO_LABELS } });
    const wanted = this.#tabs?.shown ?? current ?? project?.current;
    const first = items.find((item) => item.id === wanted) ?? items[0];
    if (first) await this.show(first.id);
    else if (this.#store.state.image) await this.#showNothing();
  }

  /** Decode the next image, and have the server encode it. */
  #lookAhead() {
    clearTimeout(this.#aheadTimer);
    this.#aheadTimer = setTimeout(() => {
      const next = imageAfter(this.#store.state.images, 1);
      const record = next && this.#images.get(next.id);
      if (this.#ahead?.id === record?.id) return;
      this.#ahead?.image.then((image) => image.bitmap.close()).catch(() => {});
      this.#ahead = record ? { id: record.id, image: decodeImage(record) } : null;
      this.#ahead?.image.then(
        (image) => this.#session.prepareAhead(image),
        () => (this.#ahead = null),
      );
    }, AHEAD_DELAY);
  }

  /**
   * Note what has to be saved.
   *
   * @param {State} state
   * @param {State} before
   */
  #note(state, before) {
    const { current } = state.images;
    if (state.labels !== before.labels || current !== before.images.current) {
      this.#changed.project = true;
      this.#saveSoon();
    }
    if (current && current !== before.images.current && this.#tabs) this.#tabs.shown = current;
    if (!current || state.image?.id !== current || state.image !== before.image) return;
    if (state.history === before.history && state.segmentation === before.segmentation && state.model === before.model) return;
    const { history, model } = state;
    // The response belongs to an earlier prompt until the next one arrives; its own fields say to which.
    const response = this.#session.response ?? this.#work.get(current)?.response ?? null;
    this.#changeWork(current, { history, model, response });
    const objects = countObjects(history);
    if (state.images.items.some((item) => item.id === current && item.objects !== objects)) {
      this.#store.dispatch({ type: 'images', action: { type: 'change', id: current, change: { objects } } });
    }
  }

  /**
   * @param {string} id
   * @param {Partial<WorkRecord>} change
   */
  #changeWork(id, change) {
    const work = this.#work.get(id) ?? { id, history: EMPTY_HISTORY, model: '', done: false, response: null };
    this.#work.set(id, { ...work, ...change });
    this.#changed.work.add(id);
    this.#saveSoon();
  }

  #saveSoon() {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = setTimeout(() => void this.#save(), SAVE_DELAY);
  }

  #save() {
    clearTimeout(this.#saveTimer);
    return this.#enqueue((storage) => this.#saveChanges(storage));
  }

  /** @param {Storage} storage */
  async #saveChanges(storage) {
    // Otherwise another tab has the project, and newer changes.
    if (!this.#tabs?.isOwner) return;
    const { images, work } = this.#changed;
    for (const id of [...images]) {
      const record = this.#images.get(id);
      if (record) await storage.saveImage(record);
      images.delete(id);
    }
    for (const id of [...work]) {
      const record = this.#work.get(id);
      if (record && this.#images.has(id)) await storage.saveWork(record);
      // It may have changed while it was saved.
      if (record === this.#work.get(id)) work.delete(id);
    }
    if (this.#changed.project) {
      const { labels, images: shown } = this.#store.state;
      await storage.saveProject({ labels, current: shown.current });
      this.#changed.project = false;
    }
    this.#store.dispatch({ type: 'unsaved', unsaved: '' });
  }

  /**
   * Use the storage, one operation after the other.
   *
   * @param {(storage: Storage) => Promise<void>} operation
   */
  #enqueue(operation) {
    this.#saving = this.#saving.then(async () => {
      try {
        if (this.#storage) await operation(this.#storage);
      } catch (error) {
        this.#reportUnsaved(error);
      }
    });
    return this.#saving;
  }

  /** @param {unknown} error of the storage */
  #reportUnsaved(error) {
    const isFull = error instanceof DOMException && error.name === 'QuotaExceededError';
    const unsaved = isFull ? 'The browser has no space left.' : 'The browser does not allow this page to keep data.';
    this.#store.dispatch({ type: 'unsaved', unsaved });
  }

  get #hasObjects() {
    return this.#store.state.images.items.some((item) => item.objects > 0);
  }
}

/** @param {History} history */
function countObjects(history) {
  return history.present.objects.filter((object) => !isBlank(object)).length;
}

/** `crypto.randomUUID` is available to pages of HTTPS and of this machine only. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
