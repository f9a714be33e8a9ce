/** The code that does the same, to read and to copy. */

import { announce, byId } from '../dom.js';
import { curlCode, pythonCode } from '../export/code.js';
import { toFields } from '../state/fields.js';

/** @typedef {import('../state/store.js').Store} Store */

/**
 * @param {Store} store
 * @param {() => boolean} keyed whether the server wants a key
 */
export function wireCode(store, keyed) {
  const dialog = byId('code-dialog', HTMLDialogElement);
  const text = byId('code-text', HTMLElement);
  const copy = byId('code-copy', HTMLButtonElement);
  const languages = [...dialog.querySelectorAll('input[name="language"]')].filter(
    (input) => input instanceof HTMLInputElement,
  );
  byId('take-code', HTMLButtonElement).addEventListener('click', () => {
    show();
    dialog.showModal();
  });
  byId('code-close', HTMLButtonElement).addEventListener('click', () => dialog.close());
  for (const input of languages) input.addEventListener('change', show);
  copy.addEventListener('click', async () => {
    copy.textContent = (await copied(text)) ? 'Copied' : 'Press Ctrl+C';
    announce(copy.textContent);
    setTimeout(() => (copy.textContent = 'Copy'), 2000);
  });

  function show() {
    const asked = toFields(store.prompt.things);
    const { picture, model } = store.state;
    if (!asked || !picture) return;
    const address = new URL('.', document.baseURI).href.replace(/\/$/, '');
    const task = { address, file: picture.name, model, fields: asked.fields, keyed: keyed() };
    const language = languages.find((input) => input.checked)?.value;
    text.textContent = language === 'curl' ? curlCode(task) : pythonCode(task);
  }
}

/** @param {HTMLElement} element */
async function copied(element) {
  getSelection()?.selectAllChildren(element);
  // Pages that came without TLS from another machine have no clipboard.
  if (!navigator.clipboard) return false;
  return navigator.clipboard.writeText(element.textContent ?? '').then(
    () => true,
    () => false,
  );
}
