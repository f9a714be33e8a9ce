/** From an error to what a person should know and can do. */

import { ApiError, Unreachable } from '../api/errors.js';
import { NotShown } from '../picture/picture.js';

/** @typedef {import('../state/store.js').Notice} Notice */

/** @type {Record<number, string>} */
const TITLES = {
  403: 'Not allowed.',
  404: 'Not found.',
  413: 'Too large.',
  415: 'Not a picture that the server reads.',
  422: 'The server cannot do that.',
  500: 'The server failed.',
  504: 'It took too long.',
};

/**
 * @param {unknown} error
 * @param {{ again: () => void, choose: () => void }} ways out
 * @returns {Notice}
 */
export function explain(error, { again, choose }) {
  const retry = { label: 'Try again', run: again };
  const another = { label: 'Choose another picture', run: choose };
  if (error instanceof NotShown) {
    return { kind: 'error', title: 'Not a picture.', text: error.message, action: another };
  }
  if (error instanceof Unreachable) {
    const text = 'Is maskery serve still running?';
    return { kind: 'error', title: 'The server does not answer.', text, action: retry };
  }
  if (!(error instanceof ApiError)) {
    const text = error instanceof Error ? error.message : String(error);
    return { kind: 'error', title: 'That did not work.', text, action: retry };
  }
  const trace = error.status >= 500 && error.requestId ? ` Request ${error.requestId}.` : '';
  return {
    kind: 'error',
    title: TITLES[error.status] ?? 'That did not work.',
    text: error.message + trace,
    action: error.status === 413 || error.status === 415 ? another : retry,
  };
}
