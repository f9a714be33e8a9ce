/** What can go wrong between the page and its server. */

/** The server answered with an error: its status, and the sentence that it gave. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code the error's name, for programs
   * @param {string} message
   * @param {number | null} retryAfter seconds
   * @param {string | null} requestId that the server's log has too
   */
  constructor(status, code, message, retryAfter, requestId) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }
}

/** Nobody answered. */
export class Unreachable extends Error {
  constructor() {
    super('The server does not answer.');
    this.name = 'Unreachable';
  }
}

/**
 * From an answer whose status is not 2xx.
 *
 * @param {number} status
 * @param {string} body
 * @param {(name: string) => string | null} header
 */
export function toApiError(status, body, header) {
  const seconds = Number.parseFloat(header('retry-after') ?? '');
  const { code, message } = detail(body);
  return new ApiError(
    status,
    code ?? '',
    message ?? `The server answered with status ${status} and no explanation.`,
    Number.isFinite(seconds) ? seconds : null,
    header('x-request-id'),
  );
}

/**
 * @param {string} body
 * @returns {{ code?: string, message?: string }}
 */
function detail(body) {
  try {
    const { error } = JSON.parse(body);
    return { code: String(error.code), message: String(error.message) };
  } catch {
    // A proxy between may answer in its own words.
    return {};
  }
}

/** @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === 'AbortError';
}
