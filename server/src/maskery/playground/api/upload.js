/** Uploads a form and reports progress, which `fetch` does not. */

import { ServerUnreachable, toApiError } from './errors.js';

/**
 * @param {string} path
 * @param {FormData} form
 * @param {Record<string, string>} headers
 * @param {AbortSignal} signal
 * @param {(fraction: number) => void} onProgress fraction of the bytes sent, 0 to 1
 * @returns {Promise<any>} the response's JSON
 */
export function upload(path, form, headers, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onabort = () => reject(new DOMException('The request was cancelled.', 'AbortError'));
    request.onerror = () => reject(new ServerUnreachable());
    request.onload = () => {
      const { status, responseText } = request;
      if (status >= 200 && status < 300) resolve(JSON.parse(responseText));
      else reject(toApiError(status, responseText, (name) => request.getResponseHeader(name)));
    };
    request.onloadend = () => signal.removeEventListener('abort', abort);
    signal.addEventListener('abort', abort);
    if (signal.aborted) reject(new DOMException('The request was cancelled.', 'AbortError'));
    else request.send(form);
  });
}
