/** Turns errors into notices: what happened, and what the user can do. */

import { ApiError, ServerUnreachable } from '../api/errors.js';
import { UnsupportedImage } from '../image/image.js';

/** @typedef {import('../state/store.js').Notice} Notice */

/** @type {Record<number, string>} */
const TITLES = {
  403: 'Not allowed.',
  404: 'Not found.',
  413: 'Too large.',
  415: 'Unsupported image.',
  422: 'Invalid request.',
  500: 'Server error.',
  504: 'Timed out.',
};

/** A file that cannot be imported. */
export class UnsupportedFile extends Error {
  /**
   * @param {string} name of the file
   * @param {string} reason a sentence
   */
  constructor(name, reason) {
    super(`${name} cannot be imported. ${reason}`);
    this.name = 'UnsupportedFile';
  }
}

/**
 * @param {unknown} error
 * @param {{ retry: () => void, choose: () => void }} actions
 * @returns {Notice}
 */
export function toNotice(error, { retry, choose }) {
  const retryAction = { label: 'Retry', run: retry };
  const chooseAction = { label: 'Choose another image', run: choose };
  if (error instanceof UnsupportedImage) {
    return { kind: 'error', title: 'Unsupported image.', text: error.message, action: chooseAction };
  }
  if (error instanceof UnsupportedFile) {
    return { kind: 'error', title: 'Not imported.', text: error.message, action: null };
  }
  if (error instanceof ServerUnreachable) {
    const text = 'Check that maskery serve is running.';
    return { kind: 'error', title: error.message, text, action: retryAction };
  }
  if (!(error instanceof ApiError)) {
    const text = error instanceof Error ? error.message : String(error);
    return { kind: 'error', title: 'Something went wrong.', text, action: retryAction };
  }
  const request = error.status >= 500 && error.requestId ? ` Request ID: ${error.requestId}.` : '';
  return {
    kind: 'error',
    title: TITLES[error.status] ?? `Error ${error.status}.`,
    text: error.message + request,
    action: error.status === 413 || error.status === 415 ? chooseAction : retryAction,
  };
}
