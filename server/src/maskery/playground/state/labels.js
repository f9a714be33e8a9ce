/** The labels (classes) that objects can have. A pure reducer. */

/** @typedef {{ id: number, name: string }} Label the id determines the colour */

/**
 * @typedef {object} Labels
 * @property {Label[]} items in the order of their number keys
 * @property {number | null} current id of the label that new objects get
 * @property {number} next id
 */

/**
 * @typedef {{ type: 'add', name: string }
 *   | { type: 'rename', id: number, name: string }
 *   | { type: 'delete', id: number }
 *   | { type: 'select', id: number | null }
 *   | { type: 'restore', labels: Labels }} LabelsAction
 */

/** @type {Labels} */
export const NO_LABELS = { items: [], current: null, next: 1 };

/**
 * The labels after an action; the same reference if nothing changed. Names are unique: to add or rename to an existing
 * one changes nothing.
 *
 * @param {Labels} labels
 * @param {LabelsAction} action
 * @returns {Labels}
 */
export function reduceLabels(labels, action) {
  switch (action.type) {
    case 'add': {
      const name = action.name.trim();
      if (!name || labelNamed(labels, name)) return labels;
      return { ...labels, items: [...labels.items, { id: labels.next, name }], next: labels.next + 1 };
    }
    case 'rename': {
      const name = action.name.trim();
      if (!name || labelNamed(labels, name)) return labels;
      return { ...labels, items: labels.items.map((label) => (label.id === action.id ? { ...label, name } : label)) };
    }
    case 'delete': {
      const items = labels.items.filter((label) => label.id !== action.id);
      return { ...labels, items, current: labels.current === action.id ? null : labels.current };
    }
    case 'select':
      return labels.current === action.id ? labels : { ...labels, current: action.id };
    case 'restore':
      return action.labels;
  }
}

/**
 * @param {Labels} labels
 * @param {string} name
 */
export function labelNamed(labels, name) {
  return labels.items.find((label) => label.name === name.trim());
}

/**
 * The label of an object; undefined if it has none, or one that has been deleted.
 *
 * @param {Labels} labels
 * @param {{ label: number | null }} object
 */
export function labelOf(labels, object) {
  return labels.items.find((label) => label.id === object.label);
}

/**
 * What the page calls an object: its label, or its number.
 *
 * @param {Labels} labels
 * @param {{ id: number, label: number | null }} object
 */
export function nameOf(labels, object) {
  return labelOf(labels, object)?.name ?? `Object ${object.id}`;
}

/**
 * The id that determines an object's colour: that of its label, or its own.
 *
 * @param {Labels} labels
 * @param {{ id: number, label: number | null }} object
 */
export function colourIdOf(labels, object) {
  return labelOf(labels, object)?.id ?? object.id;
}
