/** The images of the project. A pure reducer. */

/**
 * @typedef {object} ImageItem
 * @property {string} id
 * @property {string} name of the file
 * @property {number} width in pixels, of the image as shown
 * @property {number} height in pixels, of the image as shown
 * @property {boolean} done whether the user has finished with it
 * @property {number} objects that it has
 * @property {string} thumbnail URL
 */

/** @typedef {{ items: ImageItem[], current: string | null }} Images */

/**
 * @typedef {{ type: 'add', item: ImageItem }
 *   | { type: 'change', id: string, change: Partial<ImageItem> }
 *   | { type: 'delete', id: string }
 *   | { type: 'show', id: string | null }
 *   | { type: 'restore', images: Images }} ImagesAction
 */

/** @type {Images} */
export const NO_IMAGES = { items: [], current: null };

/**
 * @param {Images} images
 * @param {ImagesAction} action
 * @returns {Images}
 */
export function reduceImages(images, action) {
  switch (action.type) {
    case 'add':
      return { ...images, items: [...images.items, action.item] };
    case 'change':
      return {
        ...images,
        items: images.items.map((item) => (item.id === action.id ? { ...item, ...action.change } : item)),
      };
    case 'delete':
      return {
        items: images.items.filter((item) => item.id !== action.id),
        current: images.current === action.id ? null : images.current,
      };
    case 'show':
      return { ...images, current: action.id };
    case 'restore':
      return action.images;
  }
}

/**
 * The image a number of steps after the current one; undefined if there is none.
 *
 * @param {Images} images
 * @param {number} step
 */
export function imageAfter({ items, current }, step) {
  const index = items.findIndex((item) => item.id === current);
  return index < 0 ? undefined : items[index + step];
}
