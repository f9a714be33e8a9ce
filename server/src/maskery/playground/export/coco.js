/** COCO JSON: images, the labels as categories, and an annotation per object. */

import { toPolygons } from '../mask/polygons.js';
import { encodeRle } from '../mask/rle.js';
import { visibleObjects } from '../session/full-masks.js';

/** @typedef {import('../image/image.js').ImageFile} ImageFile */
/** @typedef {import('../mask/polygons.js').Polygon} Polygon */
/** @typedef {import('../mask/polygons.js').Ring} Ring */
/** @typedef {import('../state/labels.js').Labels} Labels */
/** @typedef {import('../state/prompt.js').Rle} Rle */
/** @typedef {import('../session/full-masks.js').Masks} Masks */

/** How far simplified polygons may lie from the edges of pixels. */
const TOLERANCE = 1;

/** The category of objects without a label. */
const UNLABELLED = 'object';

/**
 * @typedef {object} Annotation of an object with pixels in the mask
 * @property {number | null} label id
 * @property {number} area in pixels
 * @property {[number, number, number, number]} bbox x, y, width, height
 * @property {number | null} score
 * @property {Rle | null} rle
 * @property {Polygon[]} polygons
 */

/** @typedef {{ image: ImageFile, annotations: Annotation[] }} Annotated */

/**
 * @param {Masks} masks
 * @param {'rle' | 'polygons'} encoding
 * @returns {Annotated}
 */
export function annotate(masks, encoding) {
  const { mask } = masks.segmentation;
  const annotations = visibleObjects(masks).map(({ object: { label }, value, area, bbox, score }) => {
    const rle = encoding === 'rle' ? encodeRle(mask, value, bbox) : null;
    const polygons = encoding === 'polygons' ? toPolygons(mask, value, bbox, TOLERANCE) : [];
    return { label, area, bbox, score, rle, polygons };
  });
  return { image: masks.image, annotations };
}

/**
 * @param {Annotated[]} images
 * @param {Labels} labels
 */
export function toCoco(images, labels) {
  const { names, idOf } = categories(images, labels);
  return {
    info: { description: 'Made with Maskery' },
    images: images.map(({ image: { name, width, height } }, index) => ({ id: index + 1, file_name: name, width, height })),
    categories: names,
    annotations: images
      .flatMap(({ annotations }, index) => annotations.map((annotation) => ({ ...annotation, image: index + 1 })))
      .map(({ image, label, rle, polygons, area, bbox, score }, index) => ({
        id: index + 1,
        image_id: image,
        category_id: idOf(label),
        segmentation: rle ?? polygons.map(joinRings),
        area,
        bbox,
        iscrowd: 0,
        ...(score !== null && { score }),
      })),
  };
}

/**
 * The labels as categories, with their ids, so that the files of several exports agree; and one for objects without a
 * label, if there are any.
 *
 * @param {Annotated[]} images
 * @param {Labels} labels
 */
export function categories(images, labels) {
  const names = labels.items.map(({ id, name }) => ({ id, name }));
  const isKnown = (/** @type {number | null} */ label) => names.some(({ id }) => id === label);
  const unlabelled = { id: labels.next, name: UNLABELLED };
  const fallback = names.find(({ name }) => name === UNLABELLED) ?? unlabelled;
  const isNeeded = images.some(({ annotations }) => annotations.some(({ label }) => !isKnown(label)));
  return {
    names: isNeeded && fallback === unlabelled ? [...names, unlabelled] : names,
    idOf: (/** @type {number | null} */ label) => (label !== null && isKnown(label) ? label : fallback.id),
  };
}

/**
 * Join rings into one, because COCO polygons have no holes. Each further ring is connected to the nearest vertex of the
 * first by a line that is traversed in both directions and encloses no area.
 *
 * @param {Ring[]} rings the exterior first
 * @returns {number[]} x, y, x, y …
 */
export function joinRings(rings) {
  const [exterior = [], ...others] = rings;
  /** @type {Map<number, Ring[]>} by the index of the vertex that they are connected to */
  const connected = new Map();
  for (const ring of others) {
    const start = ring[0];
    if (!start) continue;
    const vertex = nearestVertex(exterior, start);
    connected.set(vertex, [...(connected.get(vertex) ?? []), [...ring, start]]);
  }
  return exterior.flatMap((vertex, index) => {
    const detours = connected.get(index) ?? [];
    return [vertex, ...detours.flatMap((detour) => [...detour, vertex])].flat();
  });
}

/**
 * @param {Ring} ring
 * @param {[number, number]} point
 */
function nearestVertex(ring, [x, y]) {
  let [nearest, least] = [0, Infinity];
  ring.forEach((vertex, index) => {
    const distance = (vertex[0] - x) ** 2 + (vertex[1] - y) ** 2;
    if (distance < least) [nearest, least] = [index, distance];
  });
  return nearest;
}
