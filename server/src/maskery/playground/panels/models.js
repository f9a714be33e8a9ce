/** The list of models. */

import { byId, createElement } from '../dom.js';

/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */

/** @param {Store} store */
export function connectModels(store) {
  const select = byId('model', HTMLSelectElement);
  select.addEventListener('change', () => store.dispatch({ type: 'model', model: select.value }));
  store.subscribe((state, before) => {
    if (state.models !== before.models || state.model !== before.model) {
      // An image may have been worked on with a model that is no longer installed.
      const names = state.models.includes(state.model) || !state.model ? state.models : [...state.models, state.model];
      select.replaceChildren(...names.map((name) => createElement('option', { value: name }, name)));
      select.disabled = state.models.length === 0;
    }
    select.value = state.model;
  });
}
