/**
 * Decides how to upload a file so that the server sees it in the orientation in which the browser shows it.
 *
 * The two do not always agree. For example, Chromium ignores the EXIF orientation of WebP files, and programs differ in
 * the malformed EXIF data that they accept. The size of an image does not tell, because half of the orientations keep
 * it.
 */

/**
 * How to upload a file.
 *
 * - `apply`, `ignore`: unchanged, with this value in the request's field `exif`.
 * - `reencode`: as the pixels that the browser shows. The server may read the EXIF data differently.
 *
 * @typedef {'apply' | 'ignore' | 'reencode'} UploadMode
 */

/** @typedef {'jpeg' | 'png' | 'webp'} Format in which browsers or the server apply an EXIF orientation */

const UPRIGHT = 1;

/**
 * @param {Blob} file
 * @returns {Promise<UploadMode>}
 */
export async function uploadMode(file) {
  const exif = readExif(new DataView(await file.arrayBuffer()));
  if (!exif || exif.orientation === UPRIGHT) return 'apply';
  if (!(await appliesExif(exif.format))) return 'ignore';
  return exif.orientation === null ? 'reencode' : 'apply';
}

/** Images of 2 × 1 pixels with EXIF orientation 6: browsers that apply it decode 1 × 2 pixels. */
const PROBES = {
  png:
    'iVBORw0KGgoAAAANSUhEUgAAAAIAAAABAQAAAADcWUInAAAAGmVYSWZJSSoACAAAAAEAEgEDAAEAAAAGAAAAAAAAALdIESkAAAAKSURBVHicY2AA' +
    'AAACAAFIr6RxAAAAAElFTkSuQmCC',
  webp:
    'UklGRk4AAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TA4AAAAvAQAAAAcQEf0PRET/A0VYSUYaAAAASUkqAAgAAAABABIBAwABAAAABgAAAAAA' +
    'AAA=',
};

/** @type {Map<Format, Promise<boolean>>} */
const appliedFormats = new Map();

/**
 * Whether this browser applies the EXIF orientation of files in a format. All browsers apply that of JPEG files.
 *
 * @param {Format} format
 */
function appliesExif(format) {
  if (format === 'jpeg') return true;
  let applied = appliedFormats.get(format);
  if (!applied) {
    const probe = Uint8Array.from(atob(PROBES[format]), (character) => character.charCodeAt(0));
    const decoded = createImageBitmap(new Blob([probe]), { imageOrientation: 'from-image' });
    applied = decoded.then((bitmap) => bitmap.width === 1);
    appliedFormats.set(format, applied);
  }
  return applied;
}

/**
 * The EXIF orientation of a JPEG, PNG or WebP file: 1 to 8, or null if the data is malformed. Null for other formats
 * and for files without EXIF data.
 *
 * AVIF files are not read: their orientation is a property that all decoders apply, and not EXIF data.
 *
 * @param {DataView} file
 * @returns {{ format: Format, orientation: number | null } | null}
 */
export function readExif(file) {
  const [format, blocks] = findExif(file);
  const [first, ...others] = blocks;
  if (!format || !first) return null;
  try {
    return { format, orientation: others.length ? null : readOrientation(first) };
  } catch (error) {
    if (error instanceof RangeError) return { format, orientation: null };
    throw error;
  }
}

/**
 * The blocks of EXIF data. Those that programs disagree about are returned empty, which is malformed.
 *
 * @param {DataView} file
 * @returns {[Format, DataView[]] | [null, []]}
 */
function findExif(file) {
  if (file.byteLength < 12) return [null, []];
  if (file.getUint16(0) === 0xffd8) return ['jpeg', jpegExif(file)];
  if (text(file, 1, 3) === 'PNG') return ['png', pngExif(file)];
  if (text(file, 0, 4) === 'RIFF' && text(file, 8, 4) === 'WEBP') return ['webp', webpExif(file)];
  return [null, []];
}

/** @param {DataView} file */
function jpegExif(file) {
  const blocks = [];
  for (let at = 2; at + 4 <= file.byteLength; ) {
    const marker = file.getUint16(at);
    // Metadata ends where the first scan starts.
    if (marker < 0xff00 || marker === 0xffda) break;
    if (marker === 0xffff) {
      at += 1;
      continue;
    }
    const length = file.getUint16(at + 2);
    if (marker === 0xffe1 && text(file, at + 4, 4) === 'Exif') {
      const isComplete = text(file, at + 4, 6) === 'Exif\0\0';
      blocks.push(isComplete ? part(file, at + 10, length - 8) : part(file, 0, 0));
    }
    at += 2 + length;
  }
  return blocks;
}

/** @param {DataView} file */
function pngExif(file) {
  const blocks = [];
  let hasPixels = false;
  for (let at = 8; at + 8 <= file.byteLength; ) {
    const [length, type] = [file.getUint32(at), text(file, at + 4, 4)];
    if (type === 'IDAT') hasPixels = true;
    // Decoders that read the image front to back miss EXIF data behind its pixels.
    if (type === 'eXIf') blocks.push(hasPixels ? part(file, 0, 0) : part(file, at + 8, length));
    at += 12 + length;
  }
  return blocks;
}

/** @param {DataView} file */
function webpExif(file) {
  const blocks = [];
  for (let at = 12; at + 8 <= file.byteLength; ) {
    const [type, length] = [text(file, at, 4), file.getUint32(at + 4, true)];
    if (type === 'EXIF') {
      const skip = text(file, at + 8, 6) === 'Exif\0\0' ? 6 : 0;
      blocks.push(part(file, at + 8 + skip, length - skip));
    }
    at += 8 + length + (length % 2);
  }
  return blocks;
}

const ORIENTATION = 0x0112;
const SHORT = 3;

/**
 * The tag Orientation in the first directory of a TIFF structure; 1 if there is none, null if it is not as specified.
 *
 * @param {DataView} tiff
 * @returns {number | null}
 * @throws {RangeError} the structure is incomplete
 */
function readOrientation(tiff) {
  const littleEndian = text(tiff, 0, 2) === 'II';
  if (!littleEndian && text(tiff, 0, 2) !== 'MM') return null;
  if (tiff.getUint16(2, littleEndian) !== 42) return null;
  const directory = tiff.getUint32(4, littleEndian);
  const entries = tiff.getUint16(directory, littleEndian);
  const found = [];
  for (let index = 0; index < entries; index += 1) {
    const entry = directory + 2 + 12 * index;
    if (tiff.getUint16(entry, littleEndian) !== ORIENTATION) continue;
    const type = tiff.getUint16(entry + 2, littleEndian);
    const count = tiff.getUint32(entry + 4, littleEndian);
    const value = tiff.getUint16(entry + 8, littleEndian);
    found.push(type === SHORT && count === 1 && value >= 1 && value <= 8 ? value : null);
  }
  if (found.length > 1) return null;
  return found.length ? (found[0] ?? null) : UPRIGHT;
}

/**
 * @param {DataView} view
 * @param {number} offset
 * @param {number} length cut off at the end of the view
 */
function part(view, offset, length) {
  const available = Math.max(0, Math.min(length, view.byteLength - offset));
  return new DataView(view.buffer, view.byteOffset + Math.min(offset, view.byteLength), available);
}

/**
 * @param {DataView} view
 * @param {number} offset
 * @param {number} length
 */
function text(view, offset, length) {
  const bytes = part(view, offset, length);
  return String.fromCharCode(...new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
