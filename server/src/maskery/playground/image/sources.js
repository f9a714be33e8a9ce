/** Where images come from: the file dialog, drag and drop, the clipboard, or the samples. */

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

/** @param {Sample} sample */
export async function fetchSample(sample) {
  const response = await fetch(sampleUrl(sample));
  return response.blob();
}

/**
 * @param {HTMLElement} target highlighted while a file is dragged over the page
 * @param {HTMLInputElement} input of type file
 * @param {(file: Blob, name: string) => void} onImage
 */
export function listenForImages(target, input, onImage) {
  input.addEventListener('change', () => {
    const file = input.files?.[0];
    if (file) onImage(file, file.name);
    // Without this, choosing the same file again fires no event.
    input.value = '';
  });
  document.addEventListener('paste', (event) => {
    const file = firstImage(event.clipboardData);
    if (file) onImage(file, file.name || 'pasted.png');
  });
  let depth = 0;
  const highlight = (/** @type {boolean} */ on) => target.classList.toggle('is-over', on);
  document.addEventListener('dragenter', () => highlight((depth += 1) > 0));
  document.addEventListener('dragleave', () => highlight((depth -= 1) > 0));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    highlight((depth = 0) > 0);
    const file = firstImage(event.dataTransfer);
    if (file) onImage(file, file.name);
  });
}

/** @param {DataTransfer | null} data */
function firstImage(data) {
  return [...(data?.files ?? [])].find((file) => !file.type || file.type.startsWith('image/'));
}
