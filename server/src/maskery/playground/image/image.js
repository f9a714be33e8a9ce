/** A picture as the page holds it: its file as it came, and a copy of a size that can be drawn at every frame. */

/**
 * @typedef {object} Picture
 * @property {Blob} file what the server is sent
 * @property {string} name of the file
 * @property {number} width of the upright picture, in pixels; so is the height
 * @property {number} height
 * @property {ImageBitmap} bitmap upright, not larger than what is drawn fluently
 */

/** Pixels of the copy that is drawn: more than most screens show. */
const DRAWN = 5_000_000;

/** The file is not a picture, or none that this browser can show. The message is a sentence for a person. */
export class NotShown extends Error {
  /** @param {string} name of the file */
  constructor(name) {
    super(`This browser cannot show ${name}. JPEG, PNG, WebP, AVIF and GIF will do.`);
  }
}

/**
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<Picture>}
 * @throws {NotShown}
 */
export async function openPicture(file, name) {
  const { width, height } = await uprightSize(file, name);
  const share = Math.min(1, Math.sqrt(DRAWN / (width * height)));
  const bitmap = await createImageBitmap(file, {
    imageOrientation: 'from-image',
    ...(share < 1 && {
      resizeWidth: Math.max(1, Math.round(width * share)),
      resizeHeight: Math.max(1, Math.round(height * share)),
      resizeQuality: 'high',
    }),
  }).catch(() => {
    throw new NotShown(name);
  });
  return { file, name, width, height, bitmap };
}

/**
 * The same picture as this browser shows it, without metadata: for servers that read the file otherwise, or not.
 *
 * @param {Picture} picture
 * @returns {Promise<Blob>}
 */
export async function asShown(picture) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const whole = await wholeBitmap(picture);
  context2d(canvas).drawImage(whole, 0, 0, picture.width, picture.height);
  whole.close();
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * All of its pixels. The caller closes it.
 *
 * @param {Picture} picture
 */
export function wholeBitmap(picture) {
  return createImageBitmap(picture.file, { imageOrientation: 'from-image' });
}

/** @param {OffscreenCanvas} canvas */
export function context2d(canvas) {
  const context = canvas.getContext('2d');
  if (!context) throw new Error('This browser has no memory left to draw the picture.');
  return context;
}

/**
 * From the file's header, EXIF orientation applied; no pixel is decoded.
 *
 * @param {Blob} file
 * @param {string} name
 */
async function uprightSize(file, name) {
  const address = URL.createObjectURL(file);
  const image = new Image();
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () => reject(new NotShown(name));
      image.src = address;
    });
    if (!image.naturalWidth || !image.naturalHeight) throw new NotShown(name);
    return { width: image.naturalWidth, height: image.naturalHeight };
  } finally {
    URL.revokeObjectURL(address);
  }
}
