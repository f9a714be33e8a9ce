/** An image as the page keeps it: its file, and a decoded copy that is small enough to draw at every frame. */

import { uploadMode } from './orientation.js';

/**
 * @typedef {object} SourceImage
 * @property {Blob} file as opened
 * @property {string} name of the file
 * @property {number} width in pixels, of the image as shown
 * @property {number} height in pixels, of the image as shown
 * @property {ImageBitmap} bitmap as shown, with at most MAX_BITMAP_PIXELS pixels
 * @property {import('./orientation.js').UploadMode} uploadMode
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
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<SourceImage>}
 * @throws {UnsupportedImage}
 */
export async function openImage(file, name) {
  // An image element would have another size if the file's EXIF data has a resolution.
  const full = await decode(file).catch(() => {
    throw new UnsupportedImage(name);
  });
  const { width, height } = full;
  return { file, name, width, height, bitmap: await downscale(full), uploadMode: await uploadMode(file) };
}

/**
 * The pixels as shown, as a PNG file without metadata.
 *
 * @param {SourceImage} image
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
 * @param {SourceImage} image
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
