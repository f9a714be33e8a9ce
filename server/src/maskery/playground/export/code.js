/** Code that sends the same request as the page. */

import { exportName } from './names.js';

/** @typedef {import('../state/fields.js').PromptFields} PromptFields */

/**
 * @typedef {object} Request
 * @property {string} url of the server
 * @property {string} file name of the image
 * @property {boolean} ignoreExif whether the file's EXIF orientation is ignored
 * @property {string} model
 * @property {PromptFields & { labels?: (string | null)[] }} fields
 * @property {boolean} needsKey whether the server needs an API key
 */

/** @param {Request} request */
export function pythonCode({ url, file, ignoreExif, model, fields, needsKey }) {
  const { segment_prompt: points, ...rest } = fields;
  const options = { ...rest, ...(ignoreExif && { exif: 'ignore' }) };
  const lines = Object.entries(options).map(([name, value]) => `    ${name}=${python(value)},`);
  const key = needsKey ? 'os.environ["AIR_API_KEY"]' : '"none"';
  return `${needsKey ? 'import os\n' : ''}from pathlib import Path

from air import AIRefinery

client = AIRefinery(base_url=${python(url)}, api_key=${key})
image = Path(${python(file)})
response = client.images.segment(
    image,
    ${python(points)},
    ${python(model)},
${lines.length ? `${lines.join('\n')}\n` : ''})
mask = response.data[0]
mask.save(${python(exportName(file, 'mask.png'))})
mask.overlay(image${ignoreExif ? ', exif="ignore"' : ''}).save(${python(exportName(file, 'overlay.png'))})
`;
}

/** @param {Request} request */
export function curlCode({ url, file, ignoreExif, model, fields, needsKey }) {
  const request = { model, ...fields, ...(ignoreExif && { exif: 'ignore' }) };
  const image = `image=@"${file.replace(/(["\\])/g, '\\$1')}"`;
  const lines = [
    `curl --silent --show-error --fail-with-body ${shell(`${url}/v1/images/segmentations`)}`,
    ...(needsKey ? ['  --header "Authorization: Bearer $AIR_API_KEY"'] : []),
    `  --form ${shell(image)}`,
    // With --form, curl would interpret characters of the JSON.
    `  --form-string ${shell(`request=${JSON.stringify(request)}`)}`,
    `  | jq --raw-output '.data[0].b64_json' | base64 --decode > ${shell(exportName(file, 'mask.png'))}`,
  ];
  return `${lines.join(' \\\n')}\n`;
}

/**
 * A Python literal. JSON differs from it in null, true and false only.
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
