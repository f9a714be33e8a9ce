/** Colours of objects: hues in steps of the golden ratio, so that consecutive ones differ clearly. */

const GOLDEN_RATIO = 0.6180339887;
const FIRST_HUE = 0.57;
// After eight hues the next ones are similar: vary saturation and brightness.
const SATURATION_AND_BRIGHTNESS = [
  [0.85, 1.0],
  [0.65, 0.85],
  [1.0, 0.75],
];

/** @typedef {[number, number, number]} Rgb 0 to 255 */

/**
 * The colour that `Mask.overlay()` of the Python SDK uses for a value of the mask.
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
 * @param {number} hue 0 to 1
 * @param {number} saturation 0 to 1
 * @param {number} brightness 0 to 1
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
