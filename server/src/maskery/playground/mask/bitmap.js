/** Changes the pixels of one object's mask: strokes of a brush, polygons, holes and islands. */

import { measure } from './segmentation.js';
import { encodeRle, sampled } from './rle.js';

/** @typedef {import('../state/prompt.js').Rle} Rle */

/** @typedef {{ width: number, height: number, values: Uint8Array }} Bitmap 1 inside, 0 outside, in row order */
/** @typedef {{ x: number, y: number }} Position in pixels; the centre of the first pixel is at 0.5 */

/**
 * @param {Rle} rle
 * @returns {Bitmap}
 */
export function toBitmap(rle) {
  const [height, width] = rle.size;
  return { width, height, values: sampled(rle, width, height) };
}

/**
 * @param {Bitmap} bitmap
 * @returns {Rle}
 */
export function toRle(bitmap) {
  const bbox = measure(bitmap, 1)[0]?.bbox ?? [0, 0, 0, 0];
  return encodeRle(bitmap, 1, bbox);
}

/**
 * Set the pixels whose centres a round brush touches.
 *
 * @param {Bitmap} bitmap
 * @param {Position[]} path of the brush's centre
 * @param {number} radius in pixels
 * @param {0 | 1} value
 */
export function paintStroke({ width, height, values }, path, radius, value) {
  path.forEach((end, index) => {
    const start = path[Math.max(0, index - 1)] ?? end;
    const [dx, dy] = [end.x - start.x, end.y - start.y];
    const length = dx * dx + dy * dy;
    const left = Math.max(0, Math.floor(Math.min(start.x, end.x) - radius));
    const right = Math.min(width, Math.ceil(Math.max(start.x, end.x) + radius));
    const top = Math.max(0, Math.floor(Math.min(start.y, end.y) - radius));
    const bottom = Math.min(height, Math.ceil(Math.max(start.y, end.y) + radius));
    for (let y = top; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1) {
        const [px, py] = [x + 0.5 - start.x, y + 0.5 - start.y];
        const along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
        if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius) values[y * width + x] = value;
      }
    }
  });
}

/**
 * Set the pixels of holes: those outside that are not connected to the border, diagonals included.
 *
 * @param {Bitmap} bitmap
 */
export function fillHoles({ width, height, values }) {
  const reached = new Uint8Array(values.length);
  const border = [];
  for (let x = 0; x < width; x += 1) border.push(x, (height - 1) * width + x);
  for (let y = 0; y < height; y += 1) border.push(y * width, y * width + width - 1);
  for (const at of border) spread(at, width, height, true, (next) => !values[next] && !reached[next] && Boolean((reached[next] = 1)));
  reached.forEach((isOutside, at) => !isOutside && (values[at] = 1));
}

/**
 * Clear all connected parts but the largest.
 *
 * @param {Bitmap} bitmap
 */
export function dropIslands({ width, height, values }) {
  const parts = new Uint32Array(values.length);
  let [count, largest, most] = [0, 0, 0];
  values.forEach((inside, start) => {
    if (!inside || parts[start]) return;
    count += 1;
    const part = count;
    const size = spread(start, width, height, false, (at) => {
      if (!values[at] || parts[at]) return false;
      parts[at] = part;
      return true;
    });
    if (size > most) [largest, most] = [part, size];
  });
  parts.forEach((part, at) => part && part !== largest && (values[at] = 0));
}

/**
 * Take the pixels that are connected to a first one.
 *
 * @param {number} start
 * @param {number} width
 * @param {number} height
 * @param {boolean} diagonals whether pixels that share only a corner are connected
 * @param {(at: number) => boolean} take whether a pixel belongs to the part; then marks it
 * @returns {number} of pixels
 */
function spread(start, width, height, diagonals, take) {
  if (!take(start)) return 0;
  const pending = [start];
  let size = 0;
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    size += 1;
    const [x, y] = [at % width, Math.floor(at / width)];
    for (let dy = -1; dy <= 1; dy += 1) {
      for (let dx = -1; dx <= 1; dx += 1) {
        if (!diagonals && dx && dy) continue;
        const inside = x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height;
        const next = at + dy * width + dx;
        if (inside && take(next)) pending.push(next);
      }
    }
  }
  return size;
}
