/** Helpers for DOM elements. */

/**
 * The element with an id that index.html defines.
 *
 * @template {Element} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no #${id}.`);
  return found;
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function createElement(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * Give a list a row for each id, in their order. Rows that exist are kept, with the focus in them.
 *
 * @template Id
 * @template {{ item: HTMLElement }} Row
 * @param {HTMLElement} list
 * @param {Map<Id, Row>} rows that the list has; changed
 * @param {Id[]} ids
 * @param {(id: Id) => Row} create
 * @returns {Row[]} the row of each id
 */
export function updateRows(list, rows, ids, create) {
  for (const [id, { item }] of rows) {
    if (ids.includes(id)) continue;
    item.remove();
    rows.delete(id);
  }
  return ids.map((id, index) => {
    const row = rows.get(id) ?? create(id);
    rows.set(id, row);
    if (list.children[index] !== row.item) list.insertBefore(row.item, list.children[index] ?? null);
    return row;
  });
}

/**
 * An icon that index.html defines.
 *
 * @param {string} name
 */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  const use = document.createElementNS(space, 'use');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * Have screen readers read a message aloud.
 *
 * @param {string} text
 */
export function announce(text) {
  byId('live', HTMLElement).textContent = text;
}
