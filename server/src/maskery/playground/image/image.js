/** An image as the page shows it: its file, and a decoded copy that is small enough to draw at every frame. */

import { uploadMode } from './orientation.js';

/**
 * @typedef {object} ImageFile
 * @property {string} id in the project
 * @property {Blob} file as opened
 * @property {string} name of the file
 * @property {number} width in pixels, of the image as shown
 * @property {number} height in pixels, of the image as shown
 * @property {import('./orientation.js').UploadMode} uploadMode
 */

/**
 * @typedef {ImageFile & { bitmap: ImageBitmap }} SourceImage with its pixels as shown, at most MAX_BITMAP_PIXELS of them
 */

const MAX_BITMAP_PIXELS = 5_000_000;

/** The file is not an image, or not in a format that this browser decodes. */
export class UnsupportedImage extends Error {
  /** @param {string} name of the file */
  constructor(name) {
    super(`This browser cannot display ${name}. Use a JPEG, PNG, WebP, AVIF or GIF file.`);
    this.name = 'UnsupportedImage';
  }
}

/**
 * Decode a file that is new to the project.
 *
 * @param {string} id
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<SourceImage>}
 * @throws {UnsupportedImage}
 */
export async function openImage(id, file, name) {
  // An image element would have another size if the file's EXIF data has a resolution.
  const full = await decode(file).catch(() => {
    throw new UnsupportedImage(name);
  });
  const { width, height } = full;
  return { id, file, name, width, height, bitmap: await downscale(full), uploadMode: await uploadMode(file) };
}

/**
 * Decode a file of the project again.
 *
 * @param {ImageFile} image
 * @returns {Promise<SourceImage>}
 */
export async function decodeImage({ id, file, name, width, height, uploadMode: mode }) {
  const bitmap = await downscale(await decode(file));
  return { id, file, name, width, height, uploadMode: mode, bitmap };
}

/**
 * A small copy as a JPEG file.
 *
 * @param {SourceImage} image
 * @param {number} side in pixels, of the longer side
 */
export async function createThumbnail({ bitmap }, side) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  const context = context2d(canvas);
  // JPEG has no transparency; the server composes transparent pixels on white too.
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: 'image/jpeg', quality: 0.8 });
}

/**
 * The pixels as shown, as a PNG file without metadata.
 *
 * @param {ImageFile} image
 * @returns {Promise<Blob>}
 */
export async function encodeAsShown(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const bitmap = await fullBitmap(image);
  context2d(canvas).drawImage(bitmap, 0, 0, image.width, image.height);
  bitmap.close();
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * Decode the image at full resolution. The caller closes the bitmap.
 *
 * @param {ImageFile} image
 */
export function fullBitmap(image) {
  return decode(image.file);
}

/** @param {OffscreenCanvas} canvas */
export function context2d(canvas) {
  const context = canvas.getContext('2d');
  if (!context) throw new Error('The browser does not have enough memory to draw the image.');
  return context;
}

/** @param {Blob} file */
async function decode(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: 'from-image' });
  } catch {
    // It refuses truncated files and SVG, which image elements show.
    return decodeAsElement(file);
  }
}

/** @param {Blob} file */
async function decodeAsElement(file) {
  const url = URL.createObjectURL(file);
  const element = new Image();
  try {
    await new Promise((resolve, reject) => {
      element.onload = resolve;
      element.onerror = reject;
      element.src = url;
    });
    const canvas = new OffscreenCanvas(element.naturalWidth, element.naturalHeight);
    context2d(canvas).drawImage(element, 0, 0);
    return canvas.transferToImageBitmap();
  } finally {
    URL.revokeObjectURL(url);
  }
}

/**
 * A copy with at most MAX_BITMAP_PIXELS pixels, in place of the bitmap.
 *
 * @param {ImageBitmap} bitmap
 */
async function downscale(bitmap) {
  const { width, height } = bitmap;
  const scale = Math.sqrt(MAX_BITMAP_PIXELS / (width * height));
  if (scale >= 1) return bitmap;
  const resizeWidth = Math.max(1, Math.round(width * scale));
  const resizeHeight = Math.max(1, Math.round(height * scale));
  const copy = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: 'high' });
  bitmap.close();
  return copy;
}
