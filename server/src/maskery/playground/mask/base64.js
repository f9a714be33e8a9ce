/**
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64(text) {
  // Uint8Array.fromBase64 is several times faster, but not in all browsers yet.
  const constructor = /** @type {{ fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }} */ (
    /** @type {unknown} */ (Uint8Array)
  );
  if (constructor.fromBase64) return constructor.fromBase64(text);
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
