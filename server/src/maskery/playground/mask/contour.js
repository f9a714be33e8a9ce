/** The outline of one value of a mask: exactly, along the pixels' edges, and softened for the eye. */

/** @typedef {import('./png.js').Categorical} Categorical */
/** @typedef {[number, number, number, number]} Bounds x, y, width, height */

// Right, down, left, up: walking along the pixels' edges with the inside on the right hand.
const STEP_X = [1, 0, -1, 0];
const STEP_Y = [0, 1, 0, -1];
// From the corner just reached to the pixels ahead, on the right hand and on the left.
const RIGHT_X = [0, -1, -1, 0];
const RIGHT_Y = [0, 0, -1, -1];
const LEFT_X = [0, 0, -1, -1];
const LEFT_Y = [-1, 0, 0, -1];

/** Pixels up to which a straight piece is a step of something slanted, and not an edge of the thing itself. */
const STEPS = 8;

/**
 * Lines along the pixels' edges: outer ones run clockwise, those around holes the other way.
 *
 * @param {Categorical} mask
 * @param {number} value
 * @param {Bounds} bounds of the pixels of that value
 * @param {Uint8Array} [seen] of the mask's size; may be shared by the values of one mask
 * @returns {number[][]} per line its corners x, y, x, y …
 */
export function trace(mask, value, bounds, seen = new Uint8Array(mask.values.length)) {
  const { width, height, values } = mask;
  const [left, top, columns, rows] = bounds;
  const lines = [];
  for (let y = top; y < top + rows; y += 1) {
    for (let x = left; x < left + columns; x += 1) {
      const at = y * width + x;
      if (values[at] !== value || seen[at] || (y > 0 && values[at - width] === value)) continue;
      lines.push(follow(x, y));
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
   * @param {number} startX the upper left corner of a pixel whose upper edge is on the outline
   * @param {number} startY
   */
  function follow(startX, startY) {
    /** @type {number[]} */
    const line = [];
    let [x, y, direction] = [startX, startY, 0];
    do {
      if (direction === 0) seen[y * width + x] = 1;
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
 * Through the middles of a slanted edge's steps, so that it looks slanted; corners of long edges stay.
 *
 * @param {number[]} line corners x, y, x, y …
 * @returns {number[]}
 */
export function soften(line) {
  const soft = [];
  for (let index = 0; index < line.length; index += 2) {
    const [x, y] = [line[index] ?? 0, line[index + 1] ?? 0];
    const after = (index + 2) % line.length;
    const [dx, dy] = [(line[after] ?? 0) - x, (line[after + 1] ?? 0) - y];
    const length = Math.abs(dx) + Math.abs(dy);
    if (length <= STEPS) {
      soft.push(x + dx / 2, y + dy / 2);
    } else {
      const end = 0.5 / length;
      soft.push(x + dx * end, y + dy * end, x + dx * (1 - end), y + dy * (1 - end));
    }
  }
  return soft;
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
