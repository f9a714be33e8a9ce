/** The keys that work all over the page. Those of the stage alone are in canvas/crosshair.js. */

/** @typedef {{ keys: string[], does: string, run?: (event: KeyboardEvent) => void }} Shortcut */
/** @typedef {{ title: string, shortcuts: Shortcut[] }} Group */

/**
 * What is pressed, as shortcuts are written: `Ctrl+Shift+z`, `n`, `?`. Cmd counts as Ctrl.
 *
 * @param {KeyboardEvent} event
 */
export function pressed(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const control = event.ctrlKey || event.metaKey ? 'Ctrl+' : '';
  // Of signs the Shift key is a part already.
  const shift = event.shiftKey && (control || key.length > 1) ? 'Shift+' : '';
  return `${control}${event.altKey ? 'Alt+' : ''}${shift}${key}`;
}

/** @param {Group[]} groups */
export function listenToKeys(groups) {
  /** @type {Map<string, NonNullable<Shortcut['run']>>} */
  const runs = new Map();
  for (const { keys, run } of groups.flatMap((group) => group.shortcuts)) {
    if (run) for (const key of keys) runs.set(key, run);
  }
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || isTyping(event.target) || document.querySelector('dialog[open]')) return;
    const run = runs.get(pressed(event));
    if (!run) return;
    event.preventDefault();
    run(event);
  });
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && target.matches('input:not([type=file]), select, textarea');
}
