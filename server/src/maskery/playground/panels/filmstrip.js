/** The row of the project's images. */

import { byId, createElement, icon, updateRows } from '../dom.js';

/** @typedef {import('../project/project.js').Project} Project */
/** @typedef {import('../state/images.js').ImageItem} ImageItem */
/** @typedef {import('../state/images.js').Images} Images */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('./confirmation.js').Confirmation} Confirmation */

/**
 * @typedef {{
 *   item: HTMLLIElement, show: HTMLButtonElement, preview: HTMLImageElement, count: HTMLElement, shown: ImageItem | null,
 * }} Frame
 */

export class Filmstrip {
  #project;
  #strip = byId('filmstrip', HTMLElement);
  #list = byId('frames', HTMLUListElement);
  #count = byId('done-count', HTMLElement);
  #done = byId('done', HTMLInputElement);
  #previous = byId('previous', HTMLButtonElement);
  #next = byId('next', HTMLButtonElement);
  /** @type {Map<string, Frame>} by the image's id */
  #frames = new Map();

  /**
   * @param {Store} store
   * @param {Project} project
   * @param {Confirmation} confirmation
   */
  constructor(store, project, confirmation) {
    this.#project = project;
    this.#previous.addEventListener('click', () => void project.go(-1));
    this.#next.addEventListener('click', () => void project.go(1));
    this.#done.addEventListener('change', () => {
      const { current } = store.state.images;
      if (current) project.setDone(current, this.#done.checked);
    });
    byId('remove-image', HTMLButtonElement).addEventListener('click', () => {
      const { items, current } = store.state.images;
      const item = items.find((each) => each.id === current);
      if (item) void remove(project, confirmation, item);
    });
    store.subscribe((state, before) => {
      if (state.images !== before.images) this.#render(state.images);
    });
  }

  /** @param {Images} images */
  #render({ items, current }) {
    this.#strip.hidden = items.length < 2;
    const ids = items.map((image) => image.id);
    const frames = updateRows(this.#list, this.#frames, ids, (id) => this.#createFrame(id));
    items.forEach((image, index) => fill(/** @type {Frame} */ (frames[index]), image, image.id === current));
    const index = items.findIndex((item) => item.id === current);
    this.#previous.disabled = index <= 0;
    this.#next.disabled = index < 0 || index + 1 >= items.length;
    this.#done.disabled = index < 0;
    this.#done.checked = items[index]?.done ?? false;
    this.#count.textContent = `${items.filter((item) => item.done).length} of ${items.length} done`;
  }

  /**
   * @param {string} id of the image
   * @returns {Frame}
   */
  #createFrame(id) {
    const preview = createElement('img', { alt: '', width: '72', height: '54', loading: 'lazy' });
    const count = createElement('span', { class: 'frame-count', 'aria-hidden': 'true' });
    const check = createElement('span', { class: 'frame-check', 'aria-hidden': 'true' }, icon('check'));
    const show = createElement('button', { class: 'frame', type: 'button' }, preview, count, check);
    show.addEventListener('click', () => void this.#project.show(id));
    const item = createElement('li', {}, show);
    return { item, show, preview, count, shown: null };
  }
}

/**
 * @param {Frame} frame
 * @param {ImageItem} image
 * @param {boolean} isCurrent
 */
function fill(frame, image, isCurrent) {
  const { show, preview, count, item } = frame;
  if (isCurrent && show.getAttribute('aria-current') !== 'true') item.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  show.setAttribute('aria-current', String(isCurrent));
  if (frame.shown === image) return;
  frame.shown = image;
  if (preview.src !== image.thumbnail) preview.src = image.thumbnail;
  const objects = image.objects === 1 ? '1 object' : `${image.objects} objects`;
  show.setAttribute('aria-label', `${image.name}, ${objects}${image.done ? ', done' : ''}`);
  show.title = image.name;
  show.classList.toggle('is-done', image.done);
  count.textContent = image.objects ? String(image.objects) : '';
}

/**
 * @param {Project} project
 * @param {Confirmation} confirmation
 * @param {ImageItem} image
 */
async function remove(project, confirmation, { id, name, objects }) {
  const lost = objects === 0 ? 'It has no objects.' : objects === 1 ? 'Its object is deleted, too.' : `Its ${objects} objects are deleted, too.`;
  const text = `${lost} This cannot be undone. The file on your disk is not changed.`;
  if (await confirmation.ask(`Remove ${name} from the project?`, text, 'Remove')) await project.delete(id);
}
