/**
 * What is asked for: things, each with points on and off it, a box, a mask to start from. A pure reducer.
 *
 * Coordinates are pixels of the upright picture; points are whole pixels, boxes run along pixels' edges.
 */

/** @typedef {{ x: number, y: number, on: boolean }} Point */
/** @typedef {[number, number, number, number]} Box left, top, right, bottom */
/** @typedef {{ size: [number, number], counts: string }} Rle COCO's compressed run-length encoding */

/**
 * @typedef {object} Thing
 * @property {number} id also decides its colour
 * @property {string} name
 * @property {Point[]} points
 * @property {Box | null} box
 * @property {Rle | null} start the reading that was picked, a mask to start from
 * @property {boolean} hidden
 */

/** @typedef {{ things: Thing[], selected: number | null, next: number }} Prompt */

/**
 * @typedef {{ type: 'point', x: number, y: number, on: boolean }
 *   | { type: 'box', box: Box }
 *   | { type: 'new' }
 *   | { type: 'move-point', id: number, index: number, x: number, y: number }
 *   | { type: 'remove-point', id: number, index: number }
 *   | { type: 'remove-last' }
 *   | { type: 'start', id: number, start: Rle | null }
 *   | { type: 'rename', id: number, name: string }
 *   | { type: 'hide', id: number, hidden: boolean }
 *   | { type: 'delete', id: number }
 *   | { type: 'select', id: number }} PromptAction
 */

/** @type {Prompt} */
export const EMPTY = { things: [], selected: null, next: 1 };

/**
 * The prompt after an action; the same object where nothing has changed.
 *
 * @param {Prompt} prompt
 * @param {PromptAction} action
 * @returns {Prompt}
 */
export function reducePrompt(prompt, action) {
  switch (action.type) {
    case 'point':
      return change(withSelected(prompt), (thing) => ({
        ...thing,
        points: [...thing.points, { x: action.x, y: action.y, on: action.on }],
      }));
    case 'box':
      return change(withSelected(prompt), (thing) => ({ ...thing, box: action.box }));
    case 'new': {
      const waiting = prompt.things.find(isBlank);
      return waiting ? { ...prompt, selected: waiting.id } : withNew(prompt);
    }
    case 'move-point':
      return changeOne(prompt, action.id, (thing) => ({
        ...thing,
        points: thing.points.map((point, index) =>
          index === action.index ? { ...point, x: action.x, y: action.y } : point,
        ),
      }));
    case 'remove-point':
      return changeOne(prompt, action.id, (thing) => ({
        ...thing,
        points: thing.points.filter((_, index) => index !== action.index),
      }));
    case 'remove-last': {
      const thing = selectedThing(prompt);
      if (!thing || isBlank(thing)) return prompt;
      return changeOne(prompt, thing.id, withoutLast);
    }
    case 'start':
      return changeOne(prompt, action.id, (thing) => ({ ...thing, start: action.start }));
    case 'rename':
      return changeOne(prompt, action.id, (thing) => ({ ...thing, name: action.name }));
    case 'hide':
      return changeOne(prompt, action.id, (thing) => ({ ...thing, hidden: action.hidden }));
    case 'delete':
      return withoutThing(prompt, action.id);
    case 'select':
      return prompt.selected === action.id ? prompt : { ...prompt, selected: action.id };
  }
}

/** @param {Thing} thing */
export function isBlank(thing) {
  return thing.points.length === 0 && !thing.box && !thing.start;
}

/**
 * Whether the server can be asked for it: something must say where it is, not only where it is not.
 *
 * @param {Thing} thing
 */
export function isAskable(thing) {
  return thing.box !== null || thing.start !== null || thing.points.some((point) => point.on);
}

/**
 * @param {Prompt} prompt
 * @returns {Thing | undefined}
 */
export function selectedThing(prompt) {
  return prompt.things.find((thing) => thing.id === prompt.selected);
}

/** @param {Prompt} prompt */
function withSelected(prompt) {
  return selectedThing(prompt) ? prompt : withNew(prompt);
}

/**
 * @param {Prompt} prompt
 * @returns {Prompt}
 */
function withNew(prompt) {
  const id = prompt.next;
  /** @type {Thing} */
  const thing = { id, name: `Object ${id}`, points: [], box: null, start: null, hidden: false };
  return { things: [...prompt.things, thing], selected: id, next: id + 1 };
}

/**
 * @param {Prompt} prompt
 * @param {(thing: Thing) => Thing} how
 * @returns {Prompt}
 */
function change(prompt, how) {
  return prompt.selected === null ? prompt : changeOne(prompt, prompt.selected, how);
}

/**
 * @param {Prompt} prompt
 * @param {number} id
 * @param {(thing: Thing) => Thing} how
 * @returns {Prompt}
 */
function changeOne(prompt, id, how) {
  return { ...prompt, things: prompt.things.map((thing) => (thing.id === id ? how(thing) : thing)) };
}

/**
 * @param {Thing} thing
 * @returns {Thing}
 */
function withoutLast(thing) {
  if (thing.points.length) return { ...thing, points: thing.points.slice(0, -1) };
  if (thing.box) return { ...thing, box: null };
  return { ...thing, start: null };
}

/**
 * @param {Prompt} prompt
 * @param {number} id
 * @returns {Prompt}
 */
function withoutThing(prompt, id) {
  const place = prompt.things.findIndex((thing) => thing.id === id);
  if (place < 0) return prompt;
  const things = prompt.things.filter((thing) => thing.id !== id);
  const neighbour = things[Math.min(place, things.length - 1)];
  const selected = prompt.selected === id ? (neighbour?.id ?? null) : prompt.selected;
  // A picture without things begins again with the first name and colour.
  return { things, selected, next: things.length ? prompt.next : 1 };
}
