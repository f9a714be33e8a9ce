/** Handles the shortcuts that work everywhere on the page. canvas/crosshair.js handles those of the canvas. */

/**
 * @typedef {object} Shortcut
 * @property {string[]} keys
 * @property {string[]} [shown] in the help, if not all keys
 * @property {string} description
 * @property {(event: KeyboardEvent) => void} [run]
 */
/** @typedef {{ title: string, shortcuts: Shortcut[] }} Group */

/**
 * The pressed keys as shortcuts are written, such as `Ctrl+Shift+z`, `n` or `?`. Cmd counts as Ctrl.
 *
 * @param {KeyboardEvent} event
 */
export function pressedKeys(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const control = event.ctrlKey || event.metaKey ? 'Ctrl+' : '';
  // A character such as '?' already includes Shift.
  const shift = event.shiftKey && (control || key.length > 1) ? 'Shift+' : '';
  return `${control}${event.altKey ? 'Alt+' : ''}${shift}${key}`;
}

/** @param {Group[]} groups */
export function listenForKeys(groups) {
  /** @type {Map<string, NonNullable<Shortcut['run']>>} */
  const runs = new Map();
  for (const { keys, run } of groups.flatMap((group) => group.shortcuts)) {
    if (run) for (const key of keys) runs.set(key, run);
  }
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || isTyping(event.target) || document.querySelector('dialog[open]')) return;
    const run = runs.get(pressedKeys(event));
    if (!run) return;
    event.preventDefault();
    run(event);
  });
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && target.matches('input:not([type=file]), select, textarea');
}
