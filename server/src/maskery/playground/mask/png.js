/**
 * Decodes and encodes the PNG of a categorical mask.
 *
 * A canvas is not used, because browsers with protection against fingerprinting alter the pixels that it returns.
 */

import { crc32 } from '../files/crc32.js';

/** @typedef {{ width: number, height: number, values: Uint8Array | Uint16Array }} CategoricalMask */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const GRAY = 0;
// Palettes colour the values of masks, such as those of Pascal VOC.
const PALETTE = 3;

/**
 * @param {Uint8Array<ArrayBuffer>} bytes a PNG with one channel of 8 or 16 bits, or with a palette of 8 bits
 * @returns {Promise<CategoricalMask>}
 */
export async function decodePng(bytes) {
  const { width, height, depth, data } = readChunks(bytes);
  const sampleBytes = depth / 8;
  const rows = unfilter(await inflate(data), width * sampleBytes, height, sampleBytes);
  if (depth === 8) return { width, height, values: rows };
  const values = new Uint16Array(width * height);
  for (let index = 0; index < values.length; index += 1) {
    values[index] = ((rows[2 * index] ?? 0) << 8) | (rows[2 * index + 1] ?? 0);
  }
  return { width, height, values };
}

/**
 * @param {CategoricalMask} mask
 * @returns {Promise<Uint8Array<ArrayBuffer>>} a PNG with one channel of 8 bits, or of 16 if the values need them
 */
export async function encodePng({ width, height, values }) {
  const sampleBytes = values instanceof Uint8Array ? 1 : 2;
  const stride = width * sampleBytes;
  // Each row starts with the number of its filter: none.
  const rows = new Uint8Array((stride + 1) * height);
  for (let y = 0; y < height; y += 1) {
    const row = values.subarray(y * width, (y + 1) * width);
    const from = y * (stride + 1) + 1;
    if (sampleBytes === 1) rows.set(row, from);
    else row.forEach((value, x) => rows.set([value >> 8, value & 255], from + 2 * x));
  }
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8 * sampleBytes);
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const data = new Uint8Array(await new Response(stream).arrayBuffer());
  const chunks = [chunk('IHDR', new Uint8Array(header.buffer)), chunk('IDAT', data), chunk('IEND', new Uint8Array())];
  return new Uint8Array(await new Blob([new Uint8Array(SIGNATURE), ...chunks]).arrayBuffer());
}

/**
 * @param {string} kind
 * @param {Uint8Array<ArrayBuffer>} data
 */
function chunk(kind, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set([...kind].map((character) => character.charCodeAt(0)), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
function readChunks(bytes) {
  if (SIGNATURE.some((byte, index) => bytes[index] !== byte)) throw new Error('The mask is not a PNG.');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [depth, colour, interlace] = [view.getUint8(24), view.getUint8(25), view.getUint8(28)];
  if ((colour !== GRAY && colour !== PALETTE) || interlace || (depth !== 8 && depth !== 16)) {
    throw new Error('The mask is not a PNG with one channel.');
  }
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const data = [];
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === 'IDAT') data.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  return { width, height, depth, data };
}

/** @param {Uint8Array<ArrayBuffer>[]} parts */
async function inflate(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Undo the filters (PNG specification, section 9). Each row starts with the number of its filter.
 *
 * @param {Uint8Array} filtered
 * @param {number} stride bytes of a row
 * @param {number} height
 * @param {number} step bytes of a sample
 */
function unfilter(filtered, stride, height, step) {
  const out = new Uint8Array(stride * height);
  for (let y = 0; y < height; y += 1) {
    const filter = filtered[y * (stride + 1)] ?? 0;
    const from = y * (stride + 1) + 1;
    const to = y * stride;
    if (filter === 0) {
      out.set(filtered.subarray(from, from + stride), to);
      continue;
    }
    for (let x = 0; x < stride; x += 1) {
      const left = x >= step ? /** @type {number} */ (out[to + x - step]) : 0;
      const up = y ? /** @type {number} */ (out[to + x - stride]) : 0;
      const corner = y && x >= step ? /** @type {number} */ (out[to + x - stride - step]) : 0;
      out[to + x] = /** @type {number} */ (filtered[from + x]) + predicted(filter, left, up, corner);
    }
  }
  return out;
}

/**
 * @param {number} filter
 * @param {number} left
 * @param {number} up
 * @param {number} corner
 */
function predicted(filter, left, up, corner) {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const estimate = left + up - corner;
  const [byLeft, byUp, byCorner] = [
    Math.abs(estimate - left),
    Math.abs(estimate - up),
    Math.abs(estimate - corner),
  ];
  if (byLeft <= byUp && byLeft <= byCorner) return left;
  return byUp <= byCorner ? up : corner;
}
