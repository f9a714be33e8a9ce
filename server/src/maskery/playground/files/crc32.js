/** The checksum of PNG and ZIP files (ISO 3309). */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit += 1) remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1;
  return remainder;
});

/** @param {Uint8Array} bytes */
export function crc32(bytes) {
  let remainder = 0xffffffff;
  for (const byte of bytes) remainder = /** @type {number} */ (TABLE[(remainder ^ byte) & 255]) ^ (remainder >>> 8);
  return ~remainder >>> 0;
}
