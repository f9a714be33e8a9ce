/** Tools, views, undo and zoom: buttons for what the keyboard does too. */

import { byId } from '../dom.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('../canvas/stage.js').Stage} Stage */

/**
 * @param {Store} store
 * @param {Stage} stage
 */
export function wireToolbar(store, stage) {
  const bar = byId('toolbar', HTMLElement);
  const undo = byId('undo', HTMLButtonElement);
  const redo = byId('redo', HTMLButtonElement);
  const tools = choices('tool', (tool) => store.dispatch({ type: 'tool', tool }));
  const looks = choices('look', (look) => store.dispatch({ type: 'look', look }));

  undo.addEventListener('click', () => store.ask({ type: 'undo' }));
  redo.addEventListener('click', () => store.ask({ type: 'redo' }));
  byId('add', HTMLButtonElement).addEventListener('click', () => store.ask({ type: 'new' }));
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
      stage.moved();
    });
  }

  /** @param {State} state */
  function render(state) {
    const { past, future } = state.history;
    bar.hidden = byId('looks', HTMLElement).hidden = !state.picture;
    undo.disabled = past.length === 0;
    redo.disabled = future.length === 0;
    tools(state.tool);
    looks(state.look);
    byId('stage', HTMLElement).dataset.tool = state.tool;
  }
}

/**
 * Radio buttons of one name, kept in step with the state.
 *
 * @param {string} name
 * @param {(value: any) => void} choose
 * @returns {(value: string) => void}
 */
function choices(name, choose) {
  const inputs = [...document.querySelectorAll(`input[name="${name}"]`)].filter(
    (input) => input instanceof HTMLInputElement,
  );
  for (const input of inputs) input.addEventListener('change', () => choose(input.value));
  return (value) => {
    for (const input of inputs) input.checked = input.value === value;
  };
}
