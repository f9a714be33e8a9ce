/** The list of shortcuts. */

import { byId, make } from '../dom.js';

/** @typedef {import('../keyboard.js').Group} Group */

/** @type {Record<string, string>} */
const SIGNS = { Escape: 'Esc', Delete: 'Del' };

/** @param {Group[]} groups */
export function fillHelp(groups) {
  byId('help-groups', HTMLElement).replaceChildren(
    ...groups.map(({ title, shortcuts }) => {
      const rows = shortcuts.flatMap(({ keys, does }) => {
        const shown = keys.filter((key) => key !== '=').flatMap((key, place) => (place ? [' or ', keyed(key)] : [keyed(key)]));
        return [make('dt', {}, ...shown), make('dd', {}, does)];
      });
      return make('section', {}, make('h3', {}, title), make('dl', {}, ...rows));
    }),
  );
}

/** @param {string} key */
function keyed(key) {
  const words = key === '+' ? ['+'] : key.split('+');
  const shown = words.map((word) => SIGNS[word] ?? (word.length === 1 ? word.toUpperCase() : word));
  return make('kbd', {}, shown.join(' + '));
}
