/** Converts masks to polygons and back. */

import { trace } from './contour.js';

/** @typedef {import('./png.js').CategoricalMask} CategoricalMask */
/** @typedef {[number, number, number, number]} Bounds x, y, width, height */
/** @typedef {[number, number]} Corner x, y in pixels; pixel (0, 0) has its corners at 0 and 1 */
/** @typedef {Corner[]} Ring closed: its last corner is connected to the first */
/** @typedef {Ring[]} Polygon the exterior, then the holes */

/**
 * The polygons of a value of a mask. Filled by the even-odd rule they reproduce it, exactly if the tolerance is 0.
 *
 * @param {CategoricalMask} mask
 * @param {number} value
 * @param {Bounds} bounds of the pixels with this value
 * @param {number} tolerance in pixels: how far a simplified ring may lie from the exact one
 * @returns {Polygon[]}
 */
export function toPolygons(mask, value, bounds, tolerance) {
  const rings = trace(mask, value, bounds).map(toRing);
  const simplified = tolerance > 0 ? simplifyRings(rings, tolerance) : rings;
  /** @type {{ exact: Ring, area: number, polygon: Polygon }[]} */
  const exteriors = [];
  /** @type {{ exact: Ring, ring: Ring }[]} */
  const holes = [];
  rings.forEach((exact, index) => {
    const ring = simplified[index] ?? exact;
    const area = signedArea(exact);
    if (area > 0) exteriors.push({ exact, area, polygon: [ring] });
    else holes.push({ exact, ring });
  });
  exteriors.sort((one, other) => one.area - other.area);
  for (const { exact, ring } of holes) {
    const [x, y] = exact[0] ?? [0, 0];
    // A hole starts at the upper left corner of a pixel that is outside; the pixel above it is inside.
    exteriors.find((exterior) => contains(exterior.exact, x + 0.5, y - 0.5))?.polygon.push(ring);
  }
  return exteriors.map(({ polygon }) => polygon);
}

/**
 * The pixels whose centres lie within rings, by the even-odd rule.
 *
 * @param {Ring[]} rings
 * @param {number} width
 * @param {number} height
 * @returns {Uint8Array} 1 inside, 0 outside, in row order
 */
export function fillRings(rings, width, height) {
  const out = new Uint8Array(width * height);
  /** @type {number[][]} */
  const crossings = Array.from({ length: height }, () => []);
  for (const ring of rings) {
    ring.forEach(([x0, y0], index) => {
      const [x1, y1] = ring[(index + 1) % ring.length] ?? [x0, y0];
      const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)];
      for (let y = Math.max(0, Math.ceil(top - 0.5)); y < Math.min(height, Math.ceil(bottom - 0.5)); y += 1) {
        crossings[y]?.push(x0 + ((y + 0.5 - y0) * (x1 - x0)) / (y1 - y0));
      }
    });
  }
  crossings.forEach((row, y) => {
    row.sort((one, other) => one - other);
    for (let index = 0; index + 1 < row.length; index += 2) {
      const start = Math.max(0, Math.ceil((row[index] ?? 0) - 0.5));
      const end = Math.min(width, Math.ceil((row[index + 1] ?? 0) - 0.5));
      if (end > start) out.fill(1, y * width + start, y * width + end);
    }
  });
  return out;
}

/**
 * Simplify the rings of one object by the algorithm of Douglas and Peucker (1973). A ring that would cross itself or
 * another one is simplified less.
 *
 * @param {Ring[]} rings
 * @param {number} tolerance in pixels
 */
export function simplifyRings(rings, tolerance) {
  const simplified = rings.map((ring) => simplify(ring, tolerance));
  const tolerances = rings.map(() => tolerance);
  for (;;) {
    const crossing = findCrossing(simplified);
    // Exact rings may touch one another.
    if (![...crossing].some((index) => tolerances[index])) return simplified;
    for (const index of crossing) {
      const finer = (tolerances[index] ?? 0) / 2;
      // Corners are at whole pixels: less than a quarter of one changes nothing that could cross.
      tolerances[index] = finer < 0.25 ? 0 : finer;
      simplified[index] = finer < 0.25 ? (rings[index] ?? []) : simplify(rings[index] ?? [], finer);
    }
  }
}

/**
 * @param {Ring} ring
 * @param {number} tolerance
 * @returns {Ring}
 */
function simplify(ring, tolerance) {
  if (ring.length <= 4) return ring;
  // The ring is cut at two corners that are far from each other.
  const far = farthest(ring, 0);
  const start = farthest(ring, far);
  const [first, second] = [Math.min(far, start), Math.max(far, start)];
  const kept = new Uint8Array(ring.length);
  kept[first] = kept[second] = 1;
  keep(ring, first, second, tolerance, kept);
  keep(ring, second, first + ring.length, tolerance, kept);
  const result = ring.filter((_, index) => kept[index]);
  return result.length < 3 ? ring : result;
}

/**
 * @param {Ring} ring
 * @param {number} from
 */
function farthest(ring, from) {
  const [x, y] = ring[from] ?? [0, 0];
  const distances = ring.map(([otherX, otherY]) => Math.hypot(otherX - x, otherY - y));
  return distances.indexOf(Math.max(...distances));
}

/**
 * Mark the corners between two that are kept.
 *
 * @param {Ring} ring
 * @param {number} start
 * @param {number} end may be larger than the number of corners
 * @param {number} tolerance
 * @param {Uint8Array} kept
 */
function keep(ring, start, end, tolerance, kept) {
  const pending = [[start, end]];
  for (let range = pending.pop(); range; range = pending.pop()) {
    const [from = 0, to = 0] = range;
    let [worst, largest] = [-1, tolerance];
    for (let index = from + 1; index < to; index += 1) {
      const distance = distanceToSegment(at(ring, index), at(ring, from), at(ring, to));
      if (distance > largest) [worst, largest] = [index, distance];
    }
    if (worst < 0) continue;
    kept[worst % ring.length] = 1;
    pending.push([from, worst], [worst, to]);
  }
}

/**
 * @param {Ring} ring
 * @param {number} index
 * @returns {Corner}
 */
function at(ring, index) {
  return ring[index % ring.length] ?? [0, 0];
}

/**
 * @param {Corner} point
 * @param {Corner} start
 * @param {Corner} end
 */
export function distanceToSegment([x, y], [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy;
  const along = length ? Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length)) : 0;
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
}

/**
 * Indices of the rings whose edges cross, or overlap, one another.
 *
 * @param {Ring[]} rings
 * @returns {Set<number>}
 */
function findCrossing(rings) {
  const edges = rings.flatMap((ring, index) =>
    ring.map((start, position) => ({ index, start, end: at(ring, position + 1) })),
  );
  // Sweep from left to right, so that only edges whose columns overlap are compared.
  edges.sort((one, other) => Math.min(one.start[0], one.end[0]) - Math.min(other.start[0], other.end[0]));
  /** @type {Set<number>} */
  const crossing = new Set();
  /** @type {typeof edges} */
  let open = [];
  for (const edge of edges) {
    const left = Math.min(edge.start[0], edge.end[0]);
    open = open.filter((other) => Math.max(other.start[0], other.end[0]) >= left);
    for (const other of open) {
      if (meet(edge.start, edge.end, other.start, other.end)) crossing.add(edge.index).add(other.index);
    }
    open.push(edge);
  }
  return crossing;
}

/**
 * Whether the edges a-b and c-d have a point in common that is not a corner of both: exact rings touch where pixels do.
 *
 * @param {Corner} a
 * @param {Corner} b
 * @param {Corner} c
 * @param {Corner} d
 */
function meet(a, b, c, d) {
  const [abc, abd, cda, cdb] = [side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)];
  if (!abc && !abd) {
    // Edges on one line have an overlap, or share only a corner.
    const overlap = (/** @type {0 | 1} */ axis) =>
      Math.min(Math.max(a[axis], b[axis]), Math.max(c[axis], d[axis])) -
      Math.max(Math.min(a[axis], b[axis]), Math.min(c[axis], d[axis]));
    return Math.max(overlap(0), overlap(1)) > 0;
  }
  if (same(a, c) || same(a, d) || same(b, c) || same(b, d)) return false;
  return abc * abd <= 0 && cda * cdb <= 0;
}

/**
 * @param {Corner} one
 * @param {Corner} other
 */
function same(one, other) {
  return one[0] === other[0] && one[1] === other[1];
}

/**
 * On which side of the line from a to b a point lies: -1, 0 or 1.
 *
 * @param {Corner} a
 * @param {Corner} b
 * @param {Corner} point
 */
function side(a, b, point) {
  return Math.sign((b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]));
}

/**
 * @param {number[]} line x, y, x, y …
 * @returns {Ring}
 */
function toRing(line) {
  return Array.from({ length: line.length / 2 }, (_, index) => [line[2 * index] ?? 0, line[2 * index + 1] ?? 0]);
}

/**
 * Twice the area, positive if the ring is clockwise as shown on the screen.
 *
 * @param {Ring} ring
 */
function signedArea(ring) {
  return ring.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = at(ring, index + 1);
    return sum + x * nextY - nextX * y;
  }, 0);
}

/**
 * @param {Ring} ring
 * @param {number} x
 * @param {number} y
 */
export function contains(ring, x, y) {
  let inside = false;
  ring.forEach(([x0, y0], index) => {
    const [x1, y1] = at(ring, index + 1);
    if (y0 > y !== y1 > y && x < x0 + ((y - y0) * (x1 - x0)) / (y1 - y0)) inside = !inside;
  });
  return inside;
}
