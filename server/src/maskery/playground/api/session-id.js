/** The header `x-session-id`, by which a proxy sends requests for one image to the server that has encoded it. */

const BYTES = 16;

/**
 * The first 32 hexadecimal digits of the file's SHA-256, as all clients send them. Browsers compute hashes only for
 * pages of HTTPS or of this machine; elsewhere the digits are random, so that one upload and its clicks share them.
 *
 * @param {Blob} file
 */
export async function sessionIdOf(file) {
  const bytes = crypto.subtle
    ? new Uint8Array(await crypto.subtle.digest('SHA-256', await file.arrayBuffer())).slice(0, BYTES)
    : crypto.getRandomValues(new Uint8Array(BYTES));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
