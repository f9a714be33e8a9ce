/** Exports the image with its masks at full resolution: as an overlay, or cut out. */

import { drawOverlay, onMask, visibleShapes } from '../canvas/draw.js';
import { context2d, fullBitmap } from '../image/image.js';

/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */
/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */

/**
 * The image with the objects in their colours, as a PNG file.
 *
 * @param {SourceImage} image
 * @param {Segmentation} segmentation at full resolution
 * @param {ObjectPrompt[]} objects hidden ones are left out
 */
export async function overlayPng(image, segmentation, objects) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = context2d(canvas);
  const area = { x: 0, y: 0, width: image.width, height: image.height };
  const bitmap = await fullBitmap(image);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const unit = Math.max(1, Math.min(image.width, image.height) / 600);
  onMask(context, segmentation, area, () => drawOverlay(context, visibleShapes(segmentation, objects), unit, null));
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * The objects on a transparent background, cropped to their bounding box, as a PNG file.
 *
 * @param {SourceImage} image
 * @param {Segmentation} segmentation at full resolution
 * @param {ObjectPrompt[]} objects hidden ones are left out
 */
export async function cutoutPng(image, segmentation, objects) {
  const { values, width, height } = segmentation.mask;
  const hidden = new Set(objects.filter((object) => object.hidden).map((object) => object.id));
  const shown = new Uint8Array(segmentation.ids.length + 1);
  segmentation.ids.forEach((id, index) => (shown[index + 1] = hidden.has(id) ? 0 : 1));
  const area = boundingBox(segmentation, shown);
  if (!area) throw new Error('There is nothing to cut out: all objects are hidden or empty.');
  const mask = new ImageData(area.width, area.height);
  for (let y = 0; y < area.height; y += 1) {
    for (let x = 0; x < area.width; x += 1) {
      if (shown[values[(area.y + y) * width + area.x + x] ?? 0]) mask.data[4 * (y * area.width + x) + 3] = 255;
    }
  }
  const canvas = new OffscreenCanvas(area.width, area.height);
  const context = context2d(canvas);
  context.putImageData(mask, 0, 0);
  context.globalCompositeOperation = 'source-in';
  const bitmap = await fullBitmap(image);
  context.drawImage(bitmap, -area.x, -area.y, width, height);
  bitmap.close();
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * @param {Segmentation} segmentation
 * @param {Uint8Array} shown by the mask's value
 */
function boundingBox(segmentation, shown) {
  const boxes = segmentation.segments.flatMap(({ value, bbox }) => (bbox && shown[value] ? [bbox] : []));
  if (!boxes.length) return null;
  const x = Math.min(...boxes.map((box) => box[0]));
  const y = Math.min(...boxes.map((box) => box[1]));
  return {
    x,
    y,
    width: Math.max(...boxes.map((box) => box[0] + box[2])) - x,
    height: Math.max(...boxes.map((box) => box[1] + box[3])) - y,
  };
}
