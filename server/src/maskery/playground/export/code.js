/** The program that does the same as the page. */

import { nameBeside } from './names.js';

/** @typedef {import('../state/fields.js').PromptFields} PromptFields */

/**
 * @typedef {object} Task
 * @property {string} address of the server
 * @property {string} file the picture's name
 * @property {string} model
 * @property {PromptFields} fields
 * @property {boolean} keyed whether the server wants a key
 */

/** @param {Task} task */
export function pythonCode({ address, file, model, fields, keyed }) {
  const { segment_prompt: points, ...options } = fields;
  const lines = Object.entries(options).map(([name, value]) => `    ${name}=${python(value)},`);
  const key = keyed ? 'os.environ["AIR_API_KEY"]' : '"none"';
  return `${keyed ? 'import os\n' : ''}from pathlib import Path

from air import AIRefinery

client = AIRefinery(base_url=${python(address)}, api_key=${key})
picture = Path(${python(file)})
response = client.images.segment(
    picture,
    ${python(points)},
    ${python(model)},
${lines.length ? `${lines.join('\n')}\n` : ''})
mask = response.data[0]
mask.save(${python(nameBeside(file, 'mask.png'))})
mask.overlay(picture).save(${python(nameBeside(file, 'overlay.png'))})
`;
}

/** @param {Task} task */
export function curlCode({ address, file, model, fields, keyed }) {
  const image = `image=@"${file.replace(/(["\\])/g, '\\$1')}"`;
  const lines = [
    `curl --silent --show-error --fail-with-body ${shell(`${address}/v1/images/segmentations`)}`,
    ...(keyed ? ['  --header "Authorization: Bearer $AIR_API_KEY"'] : []),
    `  --form ${shell(image)}`,
    // As a string the form would read signs of its own into it.
    `  --form-string ${shell(`request=${JSON.stringify({ model, ...fields })}`)}`,
    `  | jq --raw-output '.data[0].b64_json' | base64 --decode > ${shell(nameBeside(file, 'mask.png'))}`,
  ];
  return `${lines.join(' \\\n')}\n`;
}

/**
 * JSON's text is Python's, but for these.
 *
 * @param {unknown} value
 * @returns {string}
 */
function python(value) {
  if (value === null || value === undefined) return 'None';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') {
    return `{${Object.entries(value).map(([name, each]) => `${python(name)}: ${python(each)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}

/** @param {string} text */
function shell(text) {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
