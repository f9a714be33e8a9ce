/** Sending a form while telling how much of it has gone: the one thing that `fetch` cannot do. */

import { Unreachable, toApiError } from './errors.js';

/**
 * @param {string} path
 * @param {FormData} form
 * @param {Record<string, string>} headers
 * @param {AbortSignal} signal
 * @param {(share: number) => void} progress 0 to 1
 * @returns {Promise<any>} the answer's JSON
 */
export function upload(path, form, headers, signal, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onabort = () => reject(new DOMException('No longer wanted.', 'AbortError'));
    request.onerror = () => reject(new Unreachable());
    request.onload = () => {
      const { status, responseText } = request;
      if (status >= 200 && status < 300) resolve(JSON.parse(responseText));
      else reject(toApiError(status, responseText, (name) => request.getResponseHeader(name)));
    };
    request.onloadend = () => signal.removeEventListener('abort', abort);
    signal.addEventListener('abort', abort);
    if (signal.aborted) reject(new DOMException('No longer wanted.', 'AbortError'));
    else request.send(form);
  });
}
