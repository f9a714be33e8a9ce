/** Where files come from: the file dialogs, drag and drop, the clipboard, or the samples. */

/** @typedef {{ id: string, title: string, file: string }} Sample */

/** @type {Sample[]} */
export const SAMPLES = [
  { id: 'coffee', title: 'Coffee', file: 'coffee.jpg' },
  { id: 'chelsea', title: 'Chelsea', file: 'chelsea.jpg' },
];

/** @param {Sample} sample */
export function sampleUrl(sample) {
  return `playground/samples/${sample.file}`;
}

/**
 * @param {Sample} sample
 * @returns {Promise<{ file: Blob, name: string }>}
 */
export async function fetchSample(sample) {
  const response = await fetch(sampleUrl(sample));
  return { file: await response.blob(), name: sample.file };
}

/**
 * @param {HTMLElement} target highlighted while files are dragged over the page
 * @param {HTMLInputElement[]} inputs of type file
 * @param {(files: File[]) => void} onFiles
 */
export function listenForFiles(target, inputs, onFiles) {
  for (const input of inputs) {
    input.addEventListener('change', () => {
      // Of a folder, only what can be opened; a single file that cannot be is reported.
      const files = input.webkitdirectory ? wanted([...(input.files ?? [])]) : [...(input.files ?? [])];
      if (files.length) onFiles(files);
      // Without this, choosing the same file again fires no event.
      input.value = '';
    });
  }
  document.addEventListener('paste', (event) => {
    const files = wanted([...(event.clipboardData?.files ?? [])]);
    if (files.length) onFiles(files);
  });
  let depth = 0;
  const highlight = (/** @type {boolean} */ on) => target.classList.toggle('is-over', on);
  document.addEventListener('dragenter', () => highlight((depth += 1) > 0));
  document.addEventListener('dragleave', () => highlight((depth -= 1) > 0));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', async (event) => {
    event.preventDefault();
    highlight((depth = 0) > 0);
    const files = wanted(await droppedFiles(event.dataTransfer));
    if (files.length) onFiles(files);
  });
}

/**
 * The files that were dropped, and those in folders that were dropped.
 *
 * @param {DataTransfer | null} data
 */
async function droppedFiles(data) {
  // The entries are available during the event only.
  const entries = [...(data?.items ?? [])].flatMap((item) => item.webkitGetAsEntry?.() ?? []);
  if (!entries.some((entry) => entry.isDirectory)) return [...(data?.files ?? [])];
  return (await Promise.all(entries.map(filesOf))).flat();
}

/**
 * @param {FileSystemEntry} entry
 * @returns {Promise<File[]>}
 */
async function filesOf(entry) {
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    return [await new Promise((resolve, reject) => file.file(resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const files = [];
  // A call returns a part of the entries, and none at the end.
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    files.push(...(await Promise.all(entries.map(filesOf))).flat());
  }
}

/**
 * Images, and files that can be imported, in the order of their names: file systems have an order of their own.
 *
 * @param {File[]} files
 */
function wanted(files) {
  const path = (/** @type {File} */ file) => file.webkitRelativePath || file.name;
  return files
    .filter((file) => !file.type || file.type.startsWith('image/') || /\.(json|zip)$/i.test(file.name))
    .filter((file) => !file.name.startsWith('.'))
    .sort((one, other) => path(one).localeCompare(path(other), undefined, { numeric: true }));
}
