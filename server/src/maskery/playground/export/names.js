/**
 * A file's name beside the picture's: `cat.jpg` and `mask.png` make `cat-mask.png`.
 *
 * @param {string} picture
 * @param {string} rest
 */
export function nameBeside(picture, rest) {
  return `${picture.replace(/\.[^.]*$/, '') || 'picture'}-${rest}`;
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
