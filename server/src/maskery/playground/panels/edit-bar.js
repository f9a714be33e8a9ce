/** The controls of the tools that edit a mask by hand. */

import { MAX_BRUSH, MIN_BRUSH } from '../canvas/brush.js';
import { byId } from '../dom.js';
import { dropIslands, fillHoles } from '../mask/bitmap.js';
import { isBlank, selectedObject } from '../state/prompt.js';

/** @typedef {import('../canvas/brush.js').Brush} Brush */
/** @typedef {import('../canvas/stage.js').Stage} Stage */
/** @typedef {import('../session/mask-editor.js').MaskEditor} MaskEditor */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../state/store.js').Store} Store */

/**
 * @param {Store} store
 * @param {Stage} stage
 * @param {Brush} brush
 * @param {MaskEditor} editor
 */
export function connectEditBar(store, stage, brush, editor) {
  const bar = byId('edit-bar', HTMLElement);
  const size = byId('brush-size', HTMLInputElement);
  const sizeLabel = byId('brush-size-label', HTMLElement);
  const holes = byId('fill-holes', HTMLButtonElement);
  const islands = byId('drop-islands', HTMLButtonElement);
  size.min = String(MIN_BRUSH);
  size.max = String(MAX_BRUSH);
  size.addEventListener('input', () => {
    brush.diameter = Number(size.value);
    stage.invalidate();
  });
  brush.onResize = () => (size.value = String(brush.diameter));
  brush.onResize();
  holes.addEventListener('click', () => void editor.edit(fillHoles));
  islands.addEventListener('click', () => void editor.edit(dropIslands));
  store.subscribe(render);

  /** @param {State} state */
  function render({ tool, image, history }) {
    const isBrush = tool === 'brush' || tool === 'erase';
    bar.hidden = !image || !(isBrush || tool === 'polygon');
    sizeLabel.hidden = !isBrush;
    const object = selectedObject(history.present);
    holes.disabled = islands.disabled = !object || isBlank(object);
  }
}
