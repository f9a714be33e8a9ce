/** The toolbar: tools, view modes, undo and zoom. */

import { byId } from '../dom.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../canvas/stage.js').Stage} Stage */

/**
 * @param {Store} store
 * @param {Stage} stage
 */
export function connectToolbar(store, stage) {
  const bar = byId('toolbar', HTMLElement);
  const undo = byId('undo', HTMLButtonElement);
  const redo = byId('redo', HTMLButtonElement);
  const viewModes = byId('view-modes', HTMLElement);
  const checkTool = connectRadios('tool', (tool) => store.dispatch({ type: 'tool', tool }));
  const checkViewMode = connectRadios('view-mode', (viewMode) => store.dispatch({ type: 'view-mode', viewMode }));

  undo.addEventListener('click', () => store.edit({ type: 'undo' }));
  redo.addEventListener('click', () => store.edit({ type: 'redo' }));
  byId('add', HTMLButtonElement).addEventListener('click', () => store.edit({ type: 'new' }));
  onClick('zoom-in', () => stage.view.zoom(1.25));
  onClick('zoom-out', () => stage.view.zoom(0.8));
  onClick('fit', () => stage.view.fit());
  store.subscribe(render);
  render(store.state);

  /**
   * @param {string} id
   * @param {() => void} run
   */
  function onClick(id, run) {
    byId(id, HTMLButtonElement).addEventListener('click', () => {
      run();
      stage.viewChanged();
    });
  }

  /** @param {State} state */
  function render(state) {
    const { past, future } = state.history;
    bar.hidden = viewModes.hidden = !state.image;
    undo.disabled = past.length === 0;
    redo.disabled = future.length === 0;
    checkTool(state.tool);
    checkViewMode(state.viewMode);
    byId('stage', HTMLElement).dataset.tool = state.tool;
  }
}

/**
 * @param {string} name of a group of radio buttons
 * @param {(value: any) => void} onChange
 * @returns {(value: string) => void} checks the radio button with a value
 */
function connectRadios(name, onChange) {
  const inputs = [...document.querySelectorAll(`input[name="${name}"]`)].filter(
    (input) => input instanceof HTMLInputElement,
  );
  for (const input of inputs) input.addEventListener('change', () => onChange(input.value));
  return (value) => {
    for (const input of inputs) input.checked = input.value === value;
  };
}
