/**
 * The prompt: objects, each with positive and negative points, a box and a mask prompt. A pure reducer.
 *
 * Coordinates are pixels of the image as shown. Points are pixels; the sides of boxes lie between pixels.
 */

/** @typedef {{ x: number, y: number, positive: boolean }} Point negative: not on the object */
/** @typedef {[number, number, number, number]} Box left, top, right, bottom */
/** @typedef {{ size: [number, number], counts: string }} Rle COCO's compressed run-length encoding */

/**
 * @typedef {object} ObjectPrompt
 * @property {number} id determines the colour
 * @property {string} name
 * @property {Point[]} points
 * @property {Box | null} box
 * @property {Rle | null} maskPrompt the candidate that was selected
 * @property {boolean} hidden
 */

/** @typedef {{ objects: ObjectPrompt[], selected: number | null, next: number }} Prompt */

/**
 * @typedef {{ type: 'point', x: number, y: number, positive: boolean }
 *   | { type: 'box', box: Box }
 *   | { type: 'new' }
 *   | { type: 'move-point', id: number, index: number, x: number, y: number }
 *   | { type: 'remove-point', id: number, index: number }
 *   | { type: 'remove-last' }
 *   | { type: 'mask-prompt', id: number, maskPrompt: Rle | null }
 *   | { type: 'rename', id: number, name: string }
 *   | { type: 'hide', id: number, hidden: boolean }
 *   | { type: 'delete', id: number }
 *   | { type: 'select', id: number }} PromptAction
 */

/** @type {Prompt} */
export const EMPTY = { objects: [], selected: null, next: 1 };

/**
 * The prompt after an action; the same reference if nothing changed.
 *
 * @param {Prompt} prompt
 * @param {PromptAction} action
 * @returns {Prompt}
 */
export function reducePrompt(prompt, action) {
  switch (action.type) {
    case 'point':
      return change(withSelected(prompt), (object) => ({
        ...object,
        points: [...object.points, { x: action.x, y: action.y, positive: action.positive }],
      }));
    case 'box':
      return change(withSelected(prompt), (object) => ({ ...object, box: action.box }));
    case 'new': {
      const blank = prompt.objects.find(isBlank);
      return blank ? { ...prompt, selected: blank.id } : withNew(prompt);
    }
    case 'move-point':
      return changeOne(prompt, action.id, (object) => ({
        ...object,
        points: object.points.map((point, index) =>
          index === action.index ? { ...point, x: action.x, y: action.y } : point,
        ),
      }));
    case 'remove-point':
      return changeOne(prompt, action.id, (object) => ({
        ...object,
        points: object.points.filter((_, index) => index !== action.index),
      }));
    case 'remove-last': {
      const object = selectedObject(prompt);
      if (!object || isBlank(object)) return prompt;
      return changeOne(prompt, object.id, withoutLast);
    }
    case 'mask-prompt':
      return changeOne(prompt, action.id, (object) => ({ ...object, maskPrompt: action.maskPrompt }));
    case 'rename':
      return changeOne(prompt, action.id, (object) => ({ ...object, name: action.name }));
    case 'hide':
      return changeOne(prompt, action.id, (object) => ({ ...object, hidden: action.hidden }));
    case 'delete':
      return withoutObject(prompt, action.id);
    case 'select':
      return prompt.selected === action.id ? prompt : { ...prompt, selected: action.id };
  }
}

/** @param {ObjectPrompt} object */
export function isBlank(object) {
  return object.points.length === 0 && !object.box && !object.maskPrompt;
}

/**
 * Whether the prompt can be sent: negative points alone do not locate an object.
 *
 * @param {ObjectPrompt} object
 */
export function isComplete(object) {
  return object.box !== null || object.maskPrompt !== null || object.points.some((point) => point.positive);
}

/**
 * @param {Prompt} prompt
 * @returns {ObjectPrompt | undefined}
 */
export function selectedObject(prompt) {
  return prompt.objects.find((object) => object.id === prompt.selected);
}

/** @param {Prompt} prompt */
function withSelected(prompt) {
  return selectedObject(prompt) ? prompt : withNew(prompt);
}

/**
 * @param {Prompt} prompt
 * @returns {Prompt}
 */
function withNew(prompt) {
  const id = prompt.next;
  /** @type {ObjectPrompt} */
  const object = { id, name: `Object ${id}`, points: [], box: null, maskPrompt: null, hidden: false };
  return { objects: [...prompt.objects, object], selected: id, next: id + 1 };
}

/**
 * @param {Prompt} prompt
 * @param {(object: ObjectPrompt) => ObjectPrompt} update
 * @returns {Prompt}
 */
function change(prompt, update) {
  return prompt.selected === null ? prompt : changeOne(prompt, prompt.selected, update);
}

/**
 * @param {Prompt} prompt
 * @param {number} id
 * @param {(object: ObjectPrompt) => ObjectPrompt} update
 * @returns {Prompt}
 */
function changeOne(prompt, id, update) {
  return { ...prompt, objects: prompt.objects.map((object) => (object.id === id ? update(object) : object)) };
}

/**
 * @param {ObjectPrompt} object
 * @returns {ObjectPrompt}
 */
function withoutLast(object) {
  if (object.points.length) return { ...object, points: object.points.slice(0, -1) };
  if (object.box) return { ...object, box: null };
  return { ...object, maskPrompt: null };
}

/**
 * @param {Prompt} prompt
 * @param {number} id
 * @returns {Prompt}
 */
function withoutObject(prompt, id) {
  const index = prompt.objects.findIndex((object) => object.id === id);
  if (index < 0) return prompt;
  const objects = prompt.objects.filter((object) => object.id !== id);
  const neighbour = objects[Math.min(index, objects.length - 1)];
  const selected = prompt.selected === id ? (neighbour?.id ?? null) : prompt.selected;
  // When no object is left, names and colours start from the first again.
  return { objects, selected, next: objects.length ? prompt.next : 1 };
}
