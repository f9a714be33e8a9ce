/**
 * The name of an exported file: `cat-mask.png` for `cat.jpg` and `mask.png`.
 *
 * @param {string} image name of the image's file
 * @param {string} suffix
 */
export function exportName(image, suffix) {
  return `${stem(image)}-${suffix}`;
}

/** @param {string} image name of the image's file */
function stem(image) {
  return image.replace(/\.[^.]*$/, '') || 'image';
}

/**
 * Names without their endings. Of images with the same name, the second is `cat-2`.
 *
 * @param {string[]} images names of their files
 */
export function uniqueNames(images) {
  /** @type {Set<string>} */
  const used = new Set();
  return images.map((image) => {
    let name = stem(image);
    for (let number = 2; used.has(name); number += 1) name = `${stem(image)}-${number}`;
    used.add(name);
    return name;
  });
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
