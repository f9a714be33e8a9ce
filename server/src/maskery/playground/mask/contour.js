/** Traces the outline of a value of a mask along pixel edges, and smooths it. */

/** @typedef {import('./png.js').CategoricalMask} CategoricalMask */
/** @typedef {[number, number, number, number]} Bounds x, y, width, height */

// Right, down, left, up. The outline is traced with the inside on its right.
const STEP_X = [1, 0, -1, 0];
const STEP_Y = [0, 1, 0, -1];
// Offsets from a corner to the pixels ahead of it, on the right and on the left.
const RIGHT_X = [0, -1, -1, 0];
const RIGHT_Y = [0, 0, -1, -1];
const LEFT_X = [0, 0, -1, -1];
const LEFT_Y = [-1, 0, 0, -1];

/** Length in pixels up to which a straight segment counts as a step of a slanted edge. */
const MAX_STEP = 8;

/**
 * Closed lines along pixel edges: clockwise around exteriors, counterclockwise around holes.
 *
 * @param {CategoricalMask} mask
 * @param {number} value
 * @param {Bounds} bounds of the pixels with this value
 * @param {Uint8Array} [visited] pixels whose upper edge has been traced; the values of a mask may share one array
 * @returns {number[][]} the corners of each line: x, y, x, y …
 */
export function trace(mask, value, bounds, visited = new Uint8Array(mask.values.length)) {
  const { width, height, values } = mask;
  const [left, top, columns, rows] = bounds;
  const lines = [];
  for (let y = top; y < top + rows; y += 1) {
    for (let x = left; x < left + columns; x += 1) {
      const at = y * width + x;
      if (values[at] !== value || visited[at] || (y > 0 && values[at - width] === value)) continue;
      lines.push(traceFrom(x, y));
    }
  }
  return lines;

  /**
   * @param {number} x
   * @param {number} y
   */
  function inside(x, y) {
    return x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] === value;
  }

  /**
   * @param {number} startX of a pixel whose upper edge is on the outline
   * @param {number} startY
   */
  function traceFrom(startX, startY) {
    /** @type {number[]} */
    const line = [];
    let [x, y, direction] = [startX, startY, 0];
    do {
      if (direction === 0) visited[y * width + x] = 1;
      const [stepX, stepY] = [STEP_X[direction] ?? 0, STEP_Y[direction] ?? 0];
      x += stepX;
      y += stepY;
      const onRight = inside(x + (RIGHT_X[direction] ?? 0), y + (RIGHT_Y[direction] ?? 0));
      const turn = !onRight ? 1 : inside(x + (LEFT_X[direction] ?? 0), y + (LEFT_Y[direction] ?? 0)) ? 3 : 0;
      if (turn) {
        direction = (direction + turn) % 4;
        line.push(x, y);
      }
    } while (x !== startX || y !== startY || direction !== 0);
    return line;
  }
}

/**
 * Replace the steps of slanted edges by lines through their midpoints. Corners between long edges are kept.
 *
 * @param {number[]} line corners: x, y, x, y …
 * @returns {number[]}
 */
export function smooth(line) {
  const smoothed = [];
  for (let index = 0; index < line.length; index += 2) {
    const [x, y] = [line[index] ?? 0, line[index + 1] ?? 0];
    const after = (index + 2) % line.length;
    const [dx, dy] = [(line[after] ?? 0) - x, (line[after + 1] ?? 0) - y];
    const length = Math.abs(dx) + Math.abs(dy);
    if (length <= MAX_STEP) {
      smoothed.push(x + dx / 2, y + dy / 2);
    } else {
      const end = 0.5 / length;
      smoothed.push(x + dx * end, y + dy * end, x + dx * (1 - end), y + dy * (1 - end));
    }
  }
  return smoothed;
}

/**
 * @param {number[][]} lines
 * @returns {Path2D}
 */
export function toPath(lines) {
  const path = new Path2D();
  for (const line of lines) {
    path.moveTo(line[0] ?? 0, line[1] ?? 0);
    for (let index = 2; index < line.length; index += 2) path.lineTo(line[index] ?? 0, line[index + 1] ?? 0);
    path.closePath();
  }
  return path;
}
