/** Every thing's colour: steps of the golden ratio around the wheel, so that neighbours are far apart. */

const GOLDEN_RATIO = 0.6180339887;
const FIRST_HUE = 0.57;
// Once around the wheel hues get near to each other; these tell them apart.
const SATURATION_AND_BRIGHTNESS = [
  [0.85, 1.0],
  [0.65, 0.85],
  [1.0, 0.75],
];

/** @typedef {[number, number, number]} Rgb 0 to 255 */

/**
 * The colours that `Mask.overlay()` of the Python client gives to the values 1, 2, 3 …
 *
 * @param {number} id from 1
 * @returns {Rgb}
 */
export function colourOf(id) {
  const step = id - 1;
  const hue = (FIRST_HUE + step * GOLDEN_RATIO) % 1;
  const [saturation, brightness] = SATURATION_AND_BRIGHTNESS[Math.floor(step / 8) % 3] ?? [1, 1];
  return fromHsv(hue, saturation ?? 1, brightness ?? 1);
}

/**
 * @param {number} id
 * @param {number} [alpha]
 */
export function cssColour(id, alpha = 1) {
  const [red, green, blue] = colourOf(id);
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

/**
 * @param {number} hue 0 to 1, and so are the others
 * @param {number} saturation
 * @param {number} brightness
 * @returns {Rgb}
 */
function fromHsv(hue, saturation, brightness) {
  /** @param {number} shift */
  const channel = (shift) => {
    const k = (shift + hue * 6) % 6;
    return Math.round(255 * brightness * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}
