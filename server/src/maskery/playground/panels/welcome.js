/** The start page: ways to open an image. */

import { byId, createElement } from '../dom.js';
import { SAMPLES, fetchSample, sampleUrl } from '../image/sources.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../image/sources.js').Sample} Sample */

/**
 * @param {Store} store
 * @param {(file: Blob | Promise<Blob>, name: string) => void} open
 * @param {() => void} choose opens the file dialog
 */
export function connectWelcome(store, open, choose) {
  const welcome = byId('welcome', HTMLElement);
  const name = byId('image-name', HTMLElement);
  byId('choose', HTMLButtonElement).addEventListener('click', choose);
  byId('open', HTMLButtonElement).addEventListener('click', choose);
  byId('samples', HTMLElement).replaceChildren(...SAMPLES.map((sample) => createSampleButton(sample, open)));
  store.subscribe(({ image }) => {
    welcome.hidden = image !== null;
    name.textContent = image ? `${image.name} · ${image.width} × ${image.height}` : '';
    name.title = image?.name ?? '';
  });
}

/**
 * @param {Sample} sample
 * @param {(file: Blob | Promise<Blob>, name: string) => void} open
 */
function createSampleButton(sample, open) {
  const preview = createElement('img', { src: sampleUrl(sample), alt: '', width: '120', height: '80' });
  const title = createElement('span', {}, sample.title);
  const button = createElement('button', { class: 'sample', type: 'button' }, preview, title);
  button.addEventListener('click', () => open(fetchSample(sample), sample.file));
  return button;
}
