/** What is there before a picture is: ways to bring one. */

import { byId, make } from '../dom.js';
import { SAMPLES, fetchSample, sampleAddress } from '../picture/sources.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../picture/sources.js').Sample} Sample */

/**
 * @param {Store} store
 * @param {(file: Blob | Promise<Blob>, name: string) => void} open
 * @param {() => void} choose
 */
export function wireWelcome(store, open, choose) {
  const welcome = byId('welcome', HTMLElement);
  const name = byId('picture-name', HTMLElement);
  byId('choose', HTMLButtonElement).addEventListener('click', choose);
  byId('open', HTMLButtonElement).addEventListener('click', choose);
  byId('samples', HTMLElement).replaceChildren(...SAMPLES.map((sample) => sampleButton(sample, open)));
  store.subscribe(({ picture }) => {
    welcome.hidden = picture !== null;
    name.textContent = picture ? `${picture.name} · ${picture.width} × ${picture.height}` : '';
    name.title = picture?.name ?? '';
  });
}

/**
 * @param {Sample} sample
 * @param {(file: Blob | Promise<Blob>, name: string) => void} open
 */
function sampleButton(sample, open) {
  const image = make('img', { src: sampleAddress(sample), alt: '', width: '120', height: '80' });
  const button = make('button', { class: 'sample', type: 'button' }, image, make('span', {}, sample.title));
  button.addEventListener('click', () => open(fetchSample(sample), sample.file));
  return button;
}
