/** The masks of an image at full resolution, for exports and for editing. */

import { readSegmentation, withFixedMasks } from '../mask/segmentation.js';
import { maskSize, requestKey } from './session.js';
import { toFields } from '../state/fields.js';

/** @typedef {import('../image/image.js').ImageFile} ImageFile */
/** @typedef {import('../mask/segmentation.js').Segmentation} Segmentation */
/** @typedef {import('../project/storage.js').WorkRecord} WorkRecord */
/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */

/** @typedef {{ image: ImageFile, objects: ObjectPrompt[], segmentation: Segmentation }} Masks */

/**
 * @param {Session} session
 * @param {ImageFile} image
 * @param {Pick<WorkRecord, 'history' | 'model' | 'response'>} work
 * @returns {Promise<Masks | null>} null if the image has no objects
 */
export async function fullMasks(session, image, { history, model, response }) {
  const { objects } = history.present;
  const prompt = toFields(objects);
  let found = null;
  if (prompt) {
    const ids = prompt.objects.map((object) => object.id);
    const { width } = maskSize(image);
    const isSaved = response?.requested === requestKey(model, prompt) && width === image.width;
    const data = isSaved ? response.data : await request(session, image, model, prompt.fields);
    found = await readSegmentation(data, ids);
  }
  const segmentation = withFixedMasks(found, objects, image);
  return segmentation && { image, objects, segmentation };
}

/**
 * @param {Session} session
 * @param {ImageFile} image
 * @param {string} model
 * @param {import('../state/fields.js').PromptFields} fields
 */
async function request(session, image, model, fields) {
  const { signal } = new AbortController();
  const [data] = (await session.segmentImage(image, model, fields, {}, 'Exporting', signal)).data;
  if (!data) throw new Error('The response has no mask.');
  return data;
}

/**
 * The objects that have pixels in the mask, with their values.
 *
 * @param {Masks} masks
 */
export function visibleObjects({ objects, segmentation }) {
  return segmentation.ids.flatMap((id, index) => {
    const object = objects.find((each) => each.id === id);
    const { bbox = null, area = 0, score = null, sameAs = null } = segmentation.results.get(id) ?? {};
    return object && bbox && sameAs === null ? [{ object, value: index + 1, bbox, area, score }] : [];
  });
}
