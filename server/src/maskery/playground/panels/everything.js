/** The button that finds all objects in the image. */

import { byId } from '../dom.js';
import { forEachInside } from '../mask/rle.js';

/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */
/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../state/prompt.js').Rle} Rle */
/** @typedef {import('../state/store.js').Store} Store */

/** Objects that are covered to this extent by those that are there already are left out. */
const COVERED = 0.6;

/**
 * @param {Store} store
 * @param {Session} session
 */
export function connectEverything(store, session) {
  const button = byId('everything', HTMLButtonElement);
  let abort = new AbortController();
  button.addEventListener('click', () => void find());
  store.subscribe((state, before) => {
    button.disabled = !state.image;
    if (state.image !== before.image) abort.abort();
  });
  button.disabled = true;

  async function find() {
    if (button.getAttribute('aria-busy') === 'true') {
      abort.abort();
      return;
    }
    abort = new AbortController();
    const { signal } = abort;
    button.setAttribute('aria-busy', 'true');
    try {
      const response = await session.segment({ automatic: true }, { response_format: 'rle' }, 'Finding all objects', signal);
      const { segmentation, labels } = store.state;
      const found = (response.data[0]?.segments ?? []).flatMap(({ rle, score }) => (rle ? [{ rle, score, label: labels.current }] : []));
      const masks = found.filter(({ rle }) => !isCovered(rle, segmentation));
      if (masks.length && !signal.aborted) store.edit({ type: 'add-masks', masks });
    } catch (error) {
      session.fail(error);
    } finally {
      button.removeAttribute('aria-busy');
    }
  }
}

/**
 * @param {Rle} rle
 * @param {Segmentation | null} segmentation
 */
function isCovered(rle, segmentation) {
  if (!segmentation) return false;
  const { width, height, values } = segmentation.mask;
  let [area, covered] = [0, 0];
  forEachInside(rle, width, height, (at) => {
    area += 1;
    if (values[at]) covered += 1;
  });
  return covered > COVERED * area;
}
