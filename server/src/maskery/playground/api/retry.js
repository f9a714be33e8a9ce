/** Trying again where that can help: a server that is busy, starting, or away for a moment. */

import { ApiError, Unreachable } from './errors.js';

/** Seconds between tries of a server that does not answer, one after the other. */
const PAUSES = [0.5, 1, 2, 3, 5];
const LONGEST = 30;

/** @type {Set<() => void>} */
const sleepers = new Set();

/** Ends all pauses: what is waited for is tried at once. */
export function hurry() {
  for (const wake of [...sleepers]) wake();
}

/**
 * @template Answer
 * @param {() => Promise<Answer>} attempt
 * @param {AbortSignal} signal ends the waiting
 * @param {(error: ApiError | Unreachable, seconds: number) => void} waiting told before each pause
 * @returns {Promise<Answer>}
 */
export async function persistently(attempt, signal, waiting) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      const seconds = pause(error, tries);
      if (seconds === null || signal.aborted) throw error;
      waiting(/** @type {ApiError | Unreachable} */ (error), seconds);
      await sleep(seconds, signal);
    }
  }
}

/**
 * Seconds to wait before the next try; null where another would end like this one.
 *
 * @param {unknown} error
 * @param {number} tries that have failed before
 */
export function pause(error, tries) {
  const usual = PAUSES[Math.min(tries, PAUSES.length - 1)] ?? LONGEST;
  if (error instanceof Unreachable) return usual;
  if (!(error instanceof ApiError)) return null;
  // A proxy answers 502 or 504 without a code of ours while its server is away.
  const away = error.status === 502 || (error.status === 504 && !error.code);
  if (error.status !== 503 && error.status !== 429 && !away) return null;
  return Math.min(error.retryAfter ?? usual, LONGEST);
}

/**
 * @param {number} seconds at most
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, seconds * 1000);
    sleepers.add(done);
    function end() {
      clearTimeout(timer);
      sleepers.delete(done);
      signal.removeEventListener('abort', stop);
    }
    function done() {
      end();
      resolve();
    }
    function stop() {
      end();
      reject(new DOMException('No longer wanted.', 'AbortError'));
    }
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
}
