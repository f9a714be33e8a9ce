/** Reads COCO JSON: instances with polygons or run-length encodings. */

import { fillRings } from '../mask/polygons.js';
import { compress, encodeRle } from '../mask/rle.js';

/** @typedef {import('../state/prompt.js').Rle} Rle */

/** @typedef {{ rle: Rle, category: number, score: number | null }} CocoMask with the index of its category, or -1 */
/** @typedef {{ name: string, width: number, height: number, masks: CocoMask[] }} CocoImage */

/**
 * @param {any} file
 * @returns {{ images: CocoImage[], categories: string[] }}
 * @throws {Error} it is not COCO JSON with images and annotations
 */
export function readCoco(file) {
  const { images, annotations, categories = [] } = file ?? {};
  if (!Array.isArray(images) || !Array.isArray(annotations) || !Array.isArray(categories)) {
    throw new Error('It has no lists "images" and "annotations", as COCO files have.');
  }
  const categoryIds = categories.map((category) => category.id);
  return {
    categories: categories.map((category) => String(category.name)),
    images: images.map(({ id, file_name: path, width, height }) => ({
      name: String(path).split(/[/\\]/).at(-1) ?? '',
      width,
      height,
      masks: annotations
        .filter((annotation) => annotation.image_id === id && annotation.segmentation)
        .map(({ segmentation, category_id: category, score }) => ({
          rle: toRle(segmentation, width, height),
          category: categoryIds.indexOf(category),
          score: typeof score === 'number' ? score : null,
        })),
    })),
  };
}

/**
 * @param {number[][] | { size: [number, number], counts: string | number[] }} segmentation
 * @param {number} width
 * @param {number} height
 * @returns {Rle}
 */
function toRle(segmentation, width, height) {
  if (!Array.isArray(segmentation)) {
    const { size, counts } = segmentation;
    if (size?.[0] !== height || size?.[1] !== width) throw new Error('A run-length encoding has not the size of its image.');
    return { size, counts: typeof counts === 'string' ? counts : compress(counts) };
  }
  const values = new Uint8Array(width * height);
  // Each polygon is a part of the object; holes are connected to their exterior.
  for (const line of segmentation) {
    /** @type {[number, number][]} */
    const ring = Array.from({ length: line.length / 2 }, (_, index) => [line[2 * index] ?? 0, line[2 * index + 1] ?? 0]);
    fillRings([ring], width, height).forEach((inside, at) => inside && (values[at] = 1));
  }
  return encodeRle({ width, height, values }, 1, [0, 0, width, height]);
}
