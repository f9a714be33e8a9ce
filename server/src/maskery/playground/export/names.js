/**
 * The name of an exported file: `cat-mask.png` for `cat.jpg` and `mask.png`.
 *
 * @param {string} image name of the image's file
 * @param {string} suffix
 */
export function exportName(image, suffix) {
  return `${image.replace(/\.[^.]*$/, '') || 'image'}-${suffix}`;
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
  // By then the download has started.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
