/** The errors that a request to the server can end in. */

/** A response whose status is not 2xx. The message is the server's own. */
export class ApiError extends Error {
  /**
   * @param {number} status of the response
   * @param {string} code error code, such as `image_not_prepared`
   * @param {string} message
   * @param {number | null} retryAfter seconds, from the header Retry-After
   * @param {string | null} requestId from the header X-Request-ID; the server's log has the same
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

/** No response was received. */
export class ServerUnreachable extends Error {
  constructor() {
    super('The server does not respond.');
    this.name = 'ServerUnreachable';
  }
}

/**
 * The error of a response whose status is not 2xx.
 *
 * @param {number} status
 * @param {string} body
 * @param {(name: string) => string | null} header
 */
export function toApiError(status, body, header) {
  const seconds = Number.parseFloat(header('retry-after') ?? '');
  const { code, message } = parseError(body);
  return new ApiError(
    status,
    code ?? '',
    message ?? `The server responded with status ${status} and no explanation.`,
    Number.isFinite(seconds) ? seconds : null,
    header('x-request-id'),
  );
}

/**
 * @param {string} body
 * @returns {{ code?: string, message?: string }}
 */
function parseError(body) {
  try {
    const { error } = JSON.parse(body);
    return { code: String(error.code), message: String(error.message) };
  } catch {
    // A proxy in between responds in a format of its own.
    return {};
  }
}

/** @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === 'AbortError';
}
