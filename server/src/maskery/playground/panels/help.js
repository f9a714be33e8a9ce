/** The list of keyboard shortcuts. */

import { byId, createElement } from '../dom.js';

/** @typedef {import('../keyboard.js').Group} Group */

/** @type {Record<string, string>} */
const LABELS = { Escape: 'Esc', Delete: 'Del' };

/** @param {Group[]} groups */
export function renderHelp(groups) {
  byId('help-groups', HTMLElement).replaceChildren(
    ...groups.map(({ title, shortcuts }) => {
      const rows = shortcuts.flatMap(({ keys, shown = keys, description }) => {
        const separated = shown.map(createKey).flatMap((key, index) => (index ? [' or ', key] : [key]));
        return [createElement('dt', {}, ...separated), createElement('dd', {}, description)];
      });
      return createElement('section', {}, createElement('h3', {}, title), createElement('dl', {}, ...rows));
    }),
  );
}

/** @param {string} key */
function createKey(key) {
  const parts = key === '+' ? ['+'] : key.split('+');
  const labels = parts.map((part) => LABELS[part] ?? (part.length === 1 ? part.toUpperCase() : part));
  return createElement('kbd', {}, labels.join(' + '));
}
