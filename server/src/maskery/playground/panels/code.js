/** The dialog that shows code for the current request. */

import { announce, byId } from '../dom.js';
import { curlCode, pythonCode } from '../export/code.js';
import { labelOf } from '../state/labels.js';
import { toFields } from '../state/fields.js';

/** @typedef {import('../state/store.js').Store} Store */

/**
 * @param {Store} store
 * @param {() => boolean} needsKey whether the server needs an API key
 */
export function connectCode(store, needsKey) {
  const dialog = byId('code-dialog', HTMLDialogElement);
  const text = byId('code-text', HTMLElement);
  const copyButton = byId('code-copy', HTMLButtonElement);
  const languages = [...dialog.querySelectorAll('input[name="language"]')].filter(
    (input) => input instanceof HTMLInputElement,
  );
  byId('export-code', HTMLButtonElement).addEventListener('click', () => {
    show();
    dialog.showModal();
  });
  byId('code-close', HTMLButtonElement).addEventListener('click', () => dialog.close());
  for (const input of languages) input.addEventListener('change', show);
  copyButton.addEventListener('click', async () => {
    copyButton.textContent = (await copy(text)) ? 'Copied' : 'Press Ctrl+C';
    announce(copyButton.textContent);
    setTimeout(() => (copyButton.textContent = 'Copy'), 2000);
  });

  function show() {
    const prompt = toFields(store.prompt.objects);
    const { image, model } = store.state;
    if (!prompt || !image) return;
    const url = new URL('.', document.baseURI).href.replace(/\/$/, '');
    const ignoreExif = image.uploadMode === 'ignore';
    const names = prompt.objects.map((object) => labelOf(store.state.labels, object)?.name ?? null);
    const fields = { ...prompt.fields, ...(names.some((name) => name !== null) && { labels: names }) };
    const request = { url, file: image.name, ignoreExif, model, fields, needsKey: needsKey() };
    const language = languages.find((input) => input.checked)?.value;
    text.textContent = language === 'curl' ? curlCode(request) : pythonCode(request);
  }
}

/**
 * Copy an element's text; where the browser does not allow that, select it.
 *
 * @param {HTMLElement} element
 */
async function copy(element) {
  getSelection()?.selectAllChildren(element);
  // The clipboard is available to secure contexts only: TLS or loopback.
  if (!navigator.clipboard) return false;
  return navigator.clipboard.writeText(element.textContent ?? '').then(
    () => true,
    () => false,
  );
}
