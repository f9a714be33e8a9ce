/** The start page: ways to open an image. */

import { byId, createElement } from '../dom.js';
import { SAMPLES, fetchSample, sampleUrl } from '../image/sources.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../image/sources.js').Sample} Sample */

/** @typedef {{ file: Blob, name: string }} File */

/**
 * @param {Store} store
 * @param {(files: Promise<File>[]) => void} open
 * @param {() => void} choose opens the file dialog
 * @param {() => void} chooseFolder opens the dialog for a folder
 */
export function connectWelcome(store, open, choose, chooseFolder) {
  const welcome = byId('welcome', HTMLElement);
  const name = byId('image-name', HTMLElement);
  for (const id of ['choose', 'open']) byId(id, HTMLButtonElement).addEventListener('click', choose);
  for (const id of ['choose-folder', 'open-folder']) byId(id, HTMLButtonElement).addEventListener('click', chooseFolder);
  byId('samples', HTMLElement).replaceChildren(...SAMPLES.map((sample) => createSampleButton(sample, open)));
  store.subscribe(({ image }) => {
    welcome.hidden = image !== null;
    name.textContent = image ? `${image.name} · ${image.width} × ${image.height}` : '';
    name.title = image?.name ?? '';
  });
}

/**
 * @param {Sample} sample
 * @param {(files: Promise<File>[]) => void} open
 */
function createSampleButton(sample, open) {
  const preview = createElement('img', { src: sampleUrl(sample), alt: '', width: '120', height: '80' });
  const title = createElement('span', {}, sample.title);
  const button = createElement('button', { class: 'sample', type: 'button' }, preview, title);
  button.addEventListener('click', () => open([fetchSample(sample)]));
  return button;
}
