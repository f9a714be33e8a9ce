/** COCO's compressed run-length encoding: lengths in column order, background first. */

/** @typedef {import('../state/prompt.js').Rle} Rle */

/**
 * The end of each run, in pixels from the start.
 *
 * A length is a signed number with five bits per character, the lowest first. From the third run on, it is the
 * difference to the run two before (pycocotools, `rleFrString`).
 *
 * @param {string} counts
 * @returns {number[]}
 */
export function runEnds(counts) {
  /** @type {number[]} */
  const lengths = [];
  const ends = [];
  let total = 0;
  for (let at = 0; at < counts.length; ) {
    let [value, shift, more] = [0, 0, true];
    while (more) {
      const bits = counts.charCodeAt(at) - 48;
      value |= (bits & 0x1f) << shift;
      more = (bits & 0x20) !== 0;
      at += 1;
      shift += 5;
      if (!more && bits & 0x10) value |= -1 << shift;
    }
    if (lengths.length > 2) value += lengths[lengths.length - 2] ?? 0;
    lengths.push(value);
    ends.push((total += value));
  }
  return ends;
}

/**
 * The mask, resampled to the nearest pixels: 1 inside, 0 outside, in row order.
 *
 * @param {Rle} rle
 * @param {number} columns
 * @param {number} rows
 */
export function sampled(rle, columns, rows) {
  const out = new Uint8Array(columns * rows);
  forEachInside(rle, columns, rows, (at) => (out[at] = 1));
  return out;
}

/**
 * Call a function with the index of each pixel inside the mask, resampled to the nearest pixels. The time depends on the
 * size of the object, not on that of the image.
 *
 * @param {Rle} rle
 * @param {number} columns
 * @param {number} rows
 * @param {(at: number) => void} call index in row order
 */
export function forEachInside(rle, columns, rows, call) {
  const [height, width] = rle.size;
  const ends = runEnds(rle.counts);
  // The first row whose centre lies at or below a row of the mask.
  const firstRow = (/** @type {number} */ y) => Math.ceil((2 * y * rows - height) / (2 * height));
  let run = 1;
  for (let column = 0; column < columns; column += 1) {
    const start = Math.floor(((column + 0.5) * width) / columns) * height;
    // Runs with odd numbers are inside. Those that end before this column are done; columns may share one.
    while (run < ends.length && (ends[run] ?? 0) <= start) run += 2;
    for (let inside = run; inside < ends.length && (ends[inside - 1] ?? 0) < start + height; inside += 2) {
      const top = firstRow(Math.max(0, (ends[inside - 1] ?? 0) - start));
      const bottom = firstRow(Math.min(height, (ends[inside] ?? 0) - start));
      for (let row = Math.max(0, top); row < Math.min(rows, bottom); row += 1) call(row * columns + column);
    }
  }
}

/**
 * The pixels of a mask that have a value.
 *
 * @param {import('./png.js').CategoricalMask} mask
 * @param {number} value
 * @param {[number, number, number, number]} bounds x, y, width, height of the pixels with this value
 * @returns {Rle}
 */
export function encodeRle({ width, height, values }, value, [left, top, columns, rows]) {
  /** @type {number[]} */
  const lengths = [];
  let [inside, since] = [false, 0];
  const change = (/** @type {number} */ at) => {
    lengths.push(at - since);
    [inside, since] = [!inside, at];
  };
  for (let x = left; x < left + columns; x += 1) {
    for (let y = top; y < top + rows; y += 1) {
      if ((values[y * width + x] === value) !== inside) change(x * height + y);
    }
    // The next pixel is outside, unless the column below and the next one are within the bounds, too.
    const next = x * height + top + rows;
    const goesOn = rows === height && x + 1 < left + columns;
    if (inside && !goesOn) change(top + rows < height ? next : (x + 1) * height);
  }
  if (since < width * height) change(width * height);
  return { size: [height, width], counts: compress(lengths) };
}

/**
 * Five bits of a length per character (pycocotools, `rleToString`).
 *
 * @param {number[]} lengths
 */
export function compress(lengths) {
  let counts = '';
  lengths.forEach((length, index) => {
    let value = index > 2 ? length - (lengths[index - 2] ?? 0) : length;
    for (let more = true; more; ) {
      const bits = value & 0x1f;
      value >>= 5;
      more = bits & 0x10 ? value !== -1 : value !== 0;
      counts += String.fromCharCode((bits | (more ? 0x20 : 0)) + 48);
    }
  });
  return counts;
}
