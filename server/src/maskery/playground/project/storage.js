/** Keeps a project in the browser, in IndexedDB. */

/** @typedef {import('../api/client.js').MaskData} MaskData */
/** @typedef {import('../image/orientation.js').UploadMode} UploadMode */
/** @typedef {import('../state/history.js').History} History */
/** @typedef {import('../state/labels.js').Labels} Labels */

/**
 * @typedef {object} ImageRecord
 * @property {string} id
 * @property {number} order of the image in the project
 * @property {Blob} file
 * @property {string} name of the file
 * @property {number} width in pixels, of the image as shown
 * @property {number} height in pixels, of the image as shown
 * @property {UploadMode} uploadMode
 * @property {Blob} thumbnail
 */

/**
 * @typedef {object} WorkRecord what has been done with an image
 * @property {string} id of the image
 * @property {History} history of its objects
 * @property {string} model that found their masks
 * @property {boolean} done whether the user has finished with the image
 * @property {SavedResponse | null} response of the server, so that masks are shown without a request
 */

/** @typedef {{ requested: string, ids: number[], data: MaskData }} SavedResponse */

/** @typedef {{ labels: Labels, current: string | null }} ProjectRecord */

/**
 * @typedef {object} Storage
 * @property {() => Promise<{ project: ProjectRecord | null, images: ImageRecord[], work: WorkRecord[] }>} load
 * @property {(record: ProjectRecord) => Promise<void>} saveProject
 * @property {(record: ImageRecord) => Promise<void>} saveImage
 * @property {(record: WorkRecord) => Promise<void>} saveWork
 * @property {(id: string) => Promise<void>} delete an image and what has been done with it
 */

const DATABASE = 'maskery';
const VERSION = 1;
const STORES = /** @type {const} */ (['project', 'images', 'work']);
const PROJECT_KEY = 'project';

/**
 * @returns {Promise<Storage>}
 * @throws {DOMException} the browser does not allow the page to keep data
 */
export async function openStorage() {
  const request = indexedDB.open(DATABASE, VERSION);
  request.onupgradeneeded = () => {
    for (const name of STORES) request.result.createObjectStore(name);
  };
  const database = await settled(request);
  // So that a later version of the page can upgrade the database while this one is open.
  database.onversionchange = () => database.close();

  /**
   * @param {typeof STORES[number][]} names
   * @param {(stores: IDBObjectStore[]) => void} run
   */
  async function write(names, run) {
    const transaction = database.transaction(names, 'readwrite');
    run(names.map((name) => transaction.objectStore(name)));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  return {
    async load() {
      const transaction = database.transaction([...STORES]);
      const [project, images, work] = await Promise.all([
        settled(transaction.objectStore('project').get(PROJECT_KEY)),
        settled(transaction.objectStore('images').getAll()),
        settled(transaction.objectStore('work').getAll()),
      ]);
      return { project: project ?? null, images: images.sort((one, other) => one.order - other.order), work };
    },
    saveProject: (record) => write(['project'], ([store]) => store?.put(record, PROJECT_KEY)),
    saveImage: (record) => write(['images'], ([store]) => store?.put(record, record.id)),
    saveWork: (record) => write(['work'], ([store]) => store?.put(record, record.id)),
    delete: (id) => write(['images', 'work'], (stores) => stores.forEach((store) => store.delete(id))),
  };
}

/**
 * @template Value
 * @param {IDBRequest<Value>} request
 * @returns {Promise<Value>}
 */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
