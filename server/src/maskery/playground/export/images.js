/** Exports the image with its masks at full resolution: as an overlay, or cut out. */

import { drawOverlay, onMask, visibleShapes } from '../canvas/draw.js';
import { context2d, fullBitmap } from '../image/image.js';
import { visibleObjects } from '../session/full-masks.js';

/** @typedef {import('../state/labels.js').Labels} Labels */
/** @typedef {import('../session/full-masks.js').Masks} Masks */

/**
 * The image with the visible objects in their colours, as a PNG file.
 *
 * @param {Masks} masks
 * @param {Labels} labels
 */
export async function overlayPng({ image, objects, segmentation }, labels) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = context2d(canvas);
  const area = { x: 0, y: 0, width: image.width, height: image.height };
  const bitmap = await fullBitmap(image);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const unit = Math.max(1, Math.min(image.width, image.height) / 600);
  const shapes = visibleShapes(segmentation, objects, labels);
  onMask(context, segmentation, area, () => drawOverlay(context, shapes, unit, null));
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * The visible objects on a transparent background, cropped to their bounding box, as a PNG file.
 *
 * @param {Masks} masks
 */
export async function cutoutPng(masks) {
  const { image, segmentation } = masks;
  const { values, width, height } = segmentation.mask;
  const visible = visibleObjects(masks).filter(({ object }) => !object.hidden);
  if (!visible.length) throw new Error('There is nothing to cut out: all objects are hidden or empty.');
  const shown = new Uint8Array(segmentation.ids.length + 1);
  for (const { value } of visible) shown[value] = 1;
  const area = hull(visible.map(({ bbox }) => bbox));
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

/** @param {[number, number, number, number][]} boxes x, y, width, height */
function hull(boxes) {
  const x = Math.min(...boxes.map((box) => box[0]));
  const y = Math.min(...boxes.map((box) => box[1]));
  return {
    x,
    y,
    width: Math.max(...boxes.map((box) => box[0] + box[2])) - x,
    height: Math.max(...boxes.map((box) => box[1] + box[3])) - y,
  };
}
