/** Retries requests that can succeed later: the server is busy, starting or unreachable. */

import { ApiError, ServerUnreachable } from './errors.js';

/** Seconds before the first, second, … retry when the server names no delay. */
const DELAYS = [0.5, 1, 2, 3, 5];
const MAX_DELAY = 30;

/** @type {Set<() => void>} */
const pending = new Set();

/** End all pending delays. */
export function retryNow() {
  for (const end of [...pending]) end();
}

/**
 * Run an operation until it succeeds or fails with an error that a retry cannot mend.
 *
 * @template Result
 * @param {() => Promise<Result>} operation
 * @param {AbortSignal} signal cancels the retries
 * @param {(error: ApiError | ServerUnreachable, seconds: number) => void} onRetry called before each delay
 * @returns {Promise<Result>}
 */
export async function withRetries(operation, signal, onRetry) {
  for (let failures = 0; ; failures += 1) {
    try {
      return await operation();
    } catch (error) {
      const seconds = retryDelay(error, failures);
      if (seconds === null || signal.aborted) throw error;
      onRetry(/** @type {ApiError | ServerUnreachable} */ (error), seconds);
      await delay(seconds, signal);
    }
  }
}

/**
 * Seconds until the next retry; null if the error is permanent.
 *
 * @param {unknown} error
 * @param {number} failures before this one
 */
export function retryDelay(error, failures) {
  const seconds = DELAYS[Math.min(failures, DELAYS.length - 1)] ?? MAX_DELAY;
  if (error instanceof ServerUnreachable) return seconds;
  if (!(error instanceof ApiError)) return null;
  // A proxy responds with 502, or with 504 and no error code, when its server is down.
  const serverDown = error.status === 502 || (error.status === 504 && !error.code);
  if (error.status !== 503 && error.status !== 429 && !serverDown) return null;
  return Math.min(error.retryAfter ?? seconds, MAX_DELAY);
}

/**
 * Wait, until `retryNow` is called at the latest.
 *
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function delay(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(end, seconds * 1000);
    pending.add(end);
    function cleanUp() {
      clearTimeout(timer);
      pending.delete(end);
      signal.removeEventListener('abort', cancel);
    }
    function end() {
      cleanUp();
      resolve();
    }
    function cancel() {
      cleanUp();
      reject(new DOMException('The request was cancelled.', 'AbortError'));
    }
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
  });
}
