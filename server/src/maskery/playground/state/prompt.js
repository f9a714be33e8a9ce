/**
 * The objects of an image. A pure reducer.
 *
 * An object is described by positive and negative points, a box and a mask prompt, for which the model finds a mask; or
 * it has a mask that is kept as it is: edited by hand, imported, or found by the model among everything in the image.
 *
 * Coordinates are pixels of the image as shown. Points are pixels; the sides of boxes lie between pixels.
 */

/** @typedef {{ x: number, y: number, positive: boolean }} Point negative: not on the object */
/** @typedef {[number, number, number, number]} Box left, top, right, bottom */
/** @typedef {{ size: [number, number], counts: string }} Rle COCO's compressed run-length encoding: height, width */

/**
 * @typedef {object} FixedMask a mask that is kept as it is
 * @property {Rle} rle
 * @property {number} order of two fixed masks that overlap, the one with the higher order is on top
 * @property {number | null} score of the model that found it; null if it was edited or imported
 */

/**
 * @typedef {object} ObjectPrompt
 * @property {number} id determines the colour if there is no label
 * @property {number | null} label id of its label
 * @property {Point[]} points
 * @property {Box | null} box
 * @property {Rle | null} maskPrompt the candidate that was selected, or the mask before it was refined by points
 * @property {FixedMask | null} mask in place of points, box and mask prompt
 * @property {boolean} hidden
 */

/** @typedef {{ objects: ObjectPrompt[], selected: number | null, next: number }} Prompt */

/** @typedef {{ rle: Rle, label: number | null, score: number | null }} NewMask */

/**
 * @typedef {{ type: 'point', x: number, y: number, positive: boolean }
 *   | { type: 'box', box: Box }
 *   | { type: 'new' }
 *   | { type: 'move-point', id: number, index: number, x: number, y: number }
 *   | { type: 'remove-point', id: number, index: number }
 *   | { type: 'remove-last' }
 *   | { type: 'split', id: number }
 *   | { type: 'mask-prompt', id: number, maskPrompt: Rle | null }
 *   | { type: 'mask', id: number | null, rle: Rle }
 *   | { type: 'add-masks', masks: NewMask[] }
 *   | { type: 'label', id: number, label: number | null }
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
 * @param {number | null} [label] of new objects
 * @returns {Prompt}
 */
export function reducePrompt(prompt, action, label = null) {
  switch (action.type) {
    case 'point':
      return change(withSelected(prompt, label), (object) => ({
        ...refinable(object),
        points: [...object.points, { x: action.x, y: action.y, positive: action.positive }],
      }));
    case 'box':
      return change(withSelected(prompt, label), (object) => ({ ...refinable(object), box: action.box }));
    case 'new': {
      const blank = prompt.objects.find(isBlank);
      return blank ? { ...prompt, selected: blank.id } : withNew(prompt, { label });
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
    case 'split': {
      const point = prompt.objects.find((object) => object.id === action.id)?.points.at(-1);
      if (!point) return prompt;
      return withNew(changeOne(prompt, action.id, withoutLast), { label, points: [point] });
    }
    case 'mask-prompt':
      return changeOne(prompt, action.id, (object) => ({ ...object, maskPrompt: action.maskPrompt }));
    case 'mask': {
      const mask = { rle: action.rle, order: nextOrder(prompt), score: null };
      // Without an id, a new object.
      if (action.id === null) return withNew(prompt, { label, mask });
      return changeOne(prompt, action.id, (object) => ({ ...object, points: [], box: null, maskPrompt: null, mask }));
    }
    case 'add-masks':
      return action.masks.reduce((added, { rle, label: own, score }) => {
        return withNew(added, { label: own, mask: { rle, order: nextOrder(added), score } });
      }, withoutBlank(prompt));
    case 'label':
      return changeOne(prompt, action.id, (object) => ({ ...object, label: action.label }));
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
  return object.points.length === 0 && !object.box && !object.maskPrompt && !object.mask;
}

/**
 * Whether the prompt locates an object: negative points alone do not.
 *
 * @param {ObjectPrompt} object
 */
export function isComplete(object) {
  const { box, maskPrompt, mask, points } = object;
  return box !== null || maskPrompt !== null || mask !== null || points.some((point) => point.positive);
}

/**
 * @param {Prompt} prompt
 * @returns {ObjectPrompt | undefined}
 */
export function selectedObject(prompt) {
  return prompt.objects.find((object) => object.id === prompt.selected);
}

/**
 * The object as one that the model segments: a fixed mask becomes its mask prompt.
 *
 * @param {ObjectPrompt} object
 * @returns {ObjectPrompt}
 */
function refinable(object) {
  return object.mask ? { ...object, mask: null, maskPrompt: object.mask.rle } : object;
}

/** @param {Prompt} prompt */
function nextOrder(prompt) {
  return 1 + Math.max(0, ...prompt.objects.map((object) => object.mask?.order ?? 0));
}

/**
 * @param {Prompt} prompt
 * @param {number | null} label of a new object
 */
function withSelected(prompt, label) {
  return selectedObject(prompt) ? prompt : withNew(prompt, { label });
}

/**
 * @param {Prompt} prompt
 * @param {Partial<ObjectPrompt>} properties
 * @returns {Prompt}
 */
function withNew(prompt, properties) {
  const id = prompt.next;
  /** @type {ObjectPrompt} */
  const blank = { id, label: null, points: [], box: null, maskPrompt: null, mask: null, hidden: false };
  return { objects: [...prompt.objects, { ...blank, ...properties }], selected: id, next: id + 1 };
}

/**
 * @param {Prompt} prompt
 * @returns {Prompt}
 */
function withoutBlank(prompt) {
  const blank = prompt.objects.find(isBlank);
  return blank ? withoutObject(prompt, blank.id) : prompt;
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
  return { ...object, maskPrompt: null, mask: null };
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
  // When no object is left, numbers and colours start from the first again.
  return { objects, selected, next: objects.length ? prompt.next : 1 };
}
