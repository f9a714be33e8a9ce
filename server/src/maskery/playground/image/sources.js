/** The ways by which a picture comes in: chosen, dropped, pasted, or one of the samples. */

/** @typedef {{ id: string, title: string, file: string }} Sample */

/** @type {Sample[]} */
export const SAMPLES = [
  { id: 'coffee', title: 'Coffee', file: 'coffee.jpg' },
  { id: 'chelsea', title: 'Chelsea', file: 'chelsea.jpg' },
];

/** @param {Sample} sample */
export function sampleAddress(sample) {
  return `playground/samples/${sample.file}`;
}

/** @param {Sample} sample */
export async function fetchSample(sample) {
  const response = await fetch(sampleAddress(sample));
  return response.blob();
}

/**
 * @param {HTMLElement} area onto which files are dropped
 * @param {HTMLInputElement} input of type file
 * @param {(file: Blob, name: string) => void} receive
 */
export function listenForPictures(area, input, receive) {
  input.addEventListener('change', () => {
    const file = input.files?.[0];
    if (file) receive(file, file.name);
    // The same file may be chosen again.
    input.value = '';
  });
  document.addEventListener('paste', (event) => {
    const file = firstFile(event.clipboardData);
    if (file) receive(file, file.name || 'pasted.png');
  });
  let depth = 0;
  const over = (/** @type {boolean} */ yes) => area.classList.toggle('is-over', yes);
  document.addEventListener('dragenter', () => over((depth += 1) > 0));
  document.addEventListener('dragleave', () => over((depth -= 1) > 0));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    over((depth = 0) > 0);
    const file = firstFile(event.dataTransfer);
    if (file) receive(file, file.name);
  });
}

/** @param {DataTransfer | null} data */
function firstFile(data) {
  return [...(data?.files ?? [])].find((file) => !file.type || file.type.startsWith('image/'));
}
