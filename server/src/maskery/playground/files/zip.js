/**
 * Writes and reads ZIP files (APPNOTE.TXT of PKWARE). Entries are stored without compression: images and masks are
 * compressed already.
 */

import { crc32 } from './crc32.js';

/** @typedef {{ name: string, data: Blob }} Entry */

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END = 0x06054b50;
const END_SIZE = 22;
const MAX_COMMENT = 0xffff;
const VERSION = 20;
const UTF_8_NAMES = 0x0800;
const ENCRYPTED = 1;
const STORED = 0;
const DEFLATED = 8;
/** 1 January 1980, so that the same content makes the same file. */
const DATE = 0x21;
// What fits into the fields of the format without its extension for larger files.
const MAX_BYTES = 0xffffffff;
const MAX_ENTRIES = 0xffff;

/**
 * @param {Entry[]} entries with different names
 * @returns {Promise<Blob>}
 * @throws {RangeError} the file would be larger than 4 GB
 */
export async function writeZip(entries) {
  /** @type {BlobPart[]} */
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, data } of entries) {
    const encoded = new TextEncoder().encode(name);
    const checksum = crc32(new Uint8Array(await data.arrayBuffer()));
    const common = [VERSION, UTF_8_NAMES, STORED, 0, DATE];
    const sizes = [checksum, data.size, data.size];
    const local = record([LOCAL_HEADER], common, sizes, [encoded.length, 0]);
    directory.push(record([CENTRAL_HEADER], [VERSION, ...common], sizes, [encoded.length, 0, 0, 0, 0], [0, offset]), encoded);
    parts.push(local, encoded, data);
    offset += local.length + encoded.length + data.size;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  if (offset + size > MAX_BYTES || entries.length > MAX_ENTRIES) throw new RangeError('A ZIP file cannot be larger than 4 GB.');
  const end = record([END], [0, 0, entries.length, entries.length], [size, offset], [0]);
  return new Blob([...parts, ...directory, end], { type: 'application/zip' });
}

/**
 * @param {Blob} file
 * @returns {Promise<Entry[]>}
 * @throws {Error} the file is not a ZIP file, or damaged
 */
export async function readZip(file) {
  const tail = await view(file, Math.max(0, file.size - END_SIZE - MAX_COMMENT), file.size);
  let at = tail.byteLength - END_SIZE;
  while (at >= 0 && tail.getUint32(at, true) !== END) at -= 1;
  if (at < 0) throw new Error('It is not a ZIP file.');
  const [count, size, offset] = [tail.getUint16(at + 10, true), tail.getUint32(at + 12, true), tail.getUint32(at + 16, true)];
  const directory = await view(file, offset, offset + size);
  const entries = [];
  for (let index = 0, from = 0; index < count; index += 1) {
    if (from + 46 > directory.byteLength || directory.getUint32(from, true) !== CENTRAL_HEADER) throw damaged();
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => directory.getUint16(from + field, true));
    const end = from + 46 + (nameLength ?? 0);
    if (end > directory.byteLength) throw damaged();
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, directory.byteOffset + from + 46, nameLength));
    if (!name.endsWith('/')) entries.push({ name, data: await readEntry(file, directory, from) });
    from = end + (extraLength ?? 0) + (commentLength ?? 0);
  }
  return entries;
}

/**
 * @param {Blob} file
 * @param {DataView} directory
 * @param {number} at
 * @returns {Promise<Blob>}
 */
async function readEntry(file, directory, at) {
  const [flags, method] = [directory.getUint16(at + 8, true), directory.getUint16(at + 10, true)];
  const [checksum, size] = [directory.getUint32(at + 16, true), directory.getUint32(at + 20, true)];
  const offset = directory.getUint32(at + 42, true);
  const header = await view(file, offset, offset + 30);
  if (header.byteLength < 30 || header.getUint32(0, true) !== LOCAL_HEADER) throw damaged();
  const from = offset + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  const stored = file.slice(from, from + size);
  if (flags & ENCRYPTED || (method !== STORED && method !== DEFLATED)) {
    throw new Error('Its entries are encrypted or compressed by an unknown method.');
  }
  let data = stored;
  if (method === DEFLATED) {
    data = await new Response(stored.stream().pipeThrough(new DecompressionStream('deflate-raw'))).blob();
  }
  if (crc32(new Uint8Array(await data.arrayBuffer())) !== checksum) throw damaged();
  return data;
}

function damaged() {
  return new Error('The ZIP file is damaged.');
}

/**
 * Little-endian fields: groups of alternating width, 4 bytes, 2 bytes, 4 bytes …
 *
 * @param {number[][]} groups
 */
function record(...groups) {
  const bytes = new Uint8Array(groups.reduce((sum, group, index) => sum + group.length * (index % 2 ? 2 : 4), 0));
  const fields = new DataView(bytes.buffer);
  let at = 0;
  groups.forEach((group, index) => {
    for (const value of group) {
      if (index % 2) fields.setUint16(at, value, true);
      else fields.setUint32(at, value, true);
      at += index % 2 ? 2 : 4;
    }
  });
  return bytes;
}

/**
 * @param {Blob} file
 * @param {number} start
 * @param {number} end
 */
async function view(file, start, end) {
  return new DataView(await file.slice(start, end).arrayBuffer());
}
