/** A project as one file: a ZIP file with the images and a description of everything else. */

import { readZip, writeZip } from '../files/zip.js';

/** @typedef {import('../state/labels.js').Labels} Labels */
/** @typedef {import('../state/prompt.js').Prompt} Prompt */
/** @typedef {import('./storage.js').ImageRecord} ImageRecord */
/** @typedef {import('./storage.js').WorkRecord} WorkRecord */

const FORMAT = 'maskery-project';
const VERSION = 1;
const DESCRIPTION = 'project.json';

/**
 * @typedef {object} SavedImage
 * @property {string} name of its file when it was opened
 * @property {string} path of its file in the ZIP file
 * @property {string} model
 * @property {boolean} done
 * @property {Prompt} prompt its objects
 * @property {import('./storage.js').SavedResponse | null} response
 */

/** @typedef {{ format: string, version: number, labels: Labels, images: SavedImage[] }} Description */

/**
 * Undo and redo are not saved.
 *
 * @param {{ image: ImageRecord, work: WorkRecord }[]} images
 * @param {Labels} labels
 * @returns {Promise<Blob>}
 */
export async function writeProject(images, labels) {
  const saved = images.map(({ image: { name }, work: { model, done, history, response } }, index) => {
    const path = `images/${String(index + 1).padStart(4, '0')}-${name.replaceAll('/', '-')}`;
    return { name, path, model, done, prompt: history.present, response };
  });
  /** @type {Description} */
  const description = { format: FORMAT, version: VERSION, labels, images: saved };
  return writeZip([
    { name: DESCRIPTION, data: new Blob([JSON.stringify(description)], { type: 'application/json' }) },
    ...saved.map(({ path }, index) => ({ name: path, data: images[index]?.image.file ?? new Blob() })),
  ]);
}

/**
 * @param {Blob} file
 * @returns {Promise<{ labels: Labels, images: { file: Blob, name: string, work: Partial<WorkRecord> }[] }>}
 * @throws {Error} the file is not a project, is damaged, or was saved by a newer version
 */
export async function readProject(file) {
  const entries = new Map((await readZip(file)).map(({ name, data }) => [name, data]));
  const text = await entries.get(DESCRIPTION)?.text();
  if (!text) throw new Error(`It has no ${DESCRIPTION}.`);
  /** @type {Description} */
  const description = JSON.parse(text);
  if (description.format !== FORMAT) throw new Error('It was not saved by Maskery.');
  if (description.version > VERSION) throw new Error('It was saved by a newer version of Maskery.');
  const images = description.images.map(({ name, path, model, done, prompt, response }) => {
    const data = entries.get(path);
    if (!data) throw new Error(`It lacks ${path}.`);
    return { file: data, name, work: { model, done, history: { past: [], present: prompt, future: [] }, response } };
  });
  return { labels: description.labels, images };
}
