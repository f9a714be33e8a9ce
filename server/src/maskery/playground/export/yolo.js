/** YOLO's format for segmentation: per image a text file with a line per object, its class and a polygon. */

import { categories, joinRings } from './coco.js';
import { uniqueNames } from './names.js';

/** @typedef {import('../state/labels.js').Labels} Labels */
/** @typedef {import('./coco.js').Annotated} Annotated */

/** Digits of relative coordinates, which is finer than a pixel of any image. */
const DIGITS = 6;

/**
 * @param {Annotated[]} images with polygons
 * @param {Labels} labels
 * @returns {{ name: string, data: Blob }[]} files: `data.yaml` and those below `labels`
 */
export function toYolo(images, labels) {
  const { names, idOf } = categories(images, labels);
  const stems = uniqueNames(images.map(({ image }) => image.name));
  const files = images.map(({ image: { width, height }, annotations }, index) => {
    const lines = annotations.map(({ label, polygons }) => {
      const number = names.findIndex(({ id }) => id === idOf(label));
      // A line holds one polygon: the parts of an object and their holes are joined.
      const line = joinRings(polygons.flat());
      return [number, ...line.map((value, at) => (value / (at % 2 ? height : width)).toFixed(DIGITS))].join(' ');
    });
    return { name: `labels/${stems[index]}.txt`, data: text(lines) };
  });
  const classes = names.map(({ name }, index) => `  ${index}: ${JSON.stringify(name)}`);
  return [{ name: 'data.yaml', data: text(['path: .', 'train: images', 'val: images', 'names:', ...classes]) }, ...files];
}

/** @param {string[]} lines */
function text(lines) {
  return new Blob(lines.map((line) => `${line}\n`), { type: 'text/plain' });
}
