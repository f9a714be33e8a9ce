import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApiError, ServerUnreachable, toApiError } from '../../../server/src/maskery/playground/api/errors.js';
import { KeyStore, consumeFragment } from '../../../server/src/maskery/playground/api/key.js';
import { retryDelay, retryNow, withRetries } from '../../../server/src/maskery/playground/api/retry.js';
import { sessionIdOf } from '../../../server/src/maskery/playground/api/session-id.js';
import { joinRings, toCoco } from '../../../server/src/maskery/playground/export/coco.js';
import { curlCode, pythonCode } from '../../../server/src/maskery/playground/export/code.js';
import { exportName } from '../../../server/src/maskery/playground/export/names.js';

const busy = (retryAfter) => new ApiError(503, 'busy', 'Busy.', retryAfter, null);

test('temporary errors are retried after the delay that the server names, permanent ones are not', () => {
  assert.equal(retryDelay(busy(7), 0), 7);
  assert.equal(retryDelay(busy(900), 0), 30);
  assert.equal(retryDelay(new ServerUnreachable(), 0), 0.5);
  assert.ok(retryDelay(new ServerUnreachable(), 99) <= 30);
  assert.equal(retryDelay(new ApiError(504, '', '', null, null), 0), 0.5);
  for (const [status, code] of [[401, 'wrong_key'], [422, 'invalid_prompt'], [500, 'internal_error'], [504, 'deadline_exceeded']]) {
    assert.equal(retryDelay(new ApiError(status, code, '', null, null), 0), null);
  }
});

test('a delay can be ended early and cancelled', async () => {
  let attempts = 0;
  const delays = [];
  const operation = async () => {
    attempts += 1;
    if (attempts < 3) throw busy(20);
    return 'mask';
  };
  const onRetry = (_, seconds) => {
    delays.push(seconds);
    setTimeout(retryNow, 1);
  };
  assert.equal(await withRetries(operation, new AbortController().signal, onRetry), 'mask');
  assert.deepEqual(delays, [20, 20]);
  const abort = new AbortController();
  const cancelled = withRetries(() => Promise.reject(busy(20)), abort.signal, () => setTimeout(() => abort.abort(), 1));
  await assert.rejects(cancelled, { name: 'AbortError' });
});

test('a response of a proxy that is not JSON becomes an error', () => {
  const error = toApiError(502, '<html>Bad gateway</html>', () => null);
  assert.equal(error.status, 502);
  assert.match(error.message, /status 502/);
});

test('the key is read from the URL and removed from it', () => {
  const items = new Map();
  const storage = { getItem: (name) => items.get(name) ?? null, setItem: (name, value) => items.set(name, value), removeItem: (name) => items.delete(name) };
  let url = '';
  const history = { replaceState: (_, __, replaced) => (url = replaced) };
  const location = { hash: '#key=mk_1_%2Dx&sample=coffee', pathname: '/', search: '' };
  assert.deepEqual(consumeFragment(location, history), { key: 'mk_1_-x', sample: 'coffee' });
  assert.equal(url, '/');
  const keyStore = new KeyStore(storage);
  keyStore.key = 'mk_2';
  assert.equal(new KeyStore(storage).key, 'mk_2');
  keyStore.key = '';
  assert.equal(new KeyStore(storage).key, '');
});

test('a hole is joined to its exterior by a line in both directions', () => {
  const exterior = [[0, 0], [9, 0], [9, 9], [0, 9]];
  const hole = [[7, 7], [7, 8], [8, 8], [8, 7]];
  assert.deepEqual(joinRings([exterior, hole]), [0, 0, 9, 0, 9, 9, 7, 7, 7, 8, 8, 8, 8, 7, 7, 7, 9, 9, 0, 9]);
});

test('objects with the same name share a category, and empty masks have no annotation', () => {
  const objects = ['Cup', 'Spoon', 'Cup'].map((name, index) => ({ id: index + 5, name }));
  const segment = (value, bbox) => ({ value, bbox, area: 4, score: 0.5, prompts: [value - 1], rle: { size: [4, 4], counts: 'x' } });
  const coco = toCoco({ name: 'a.jpg', width: 4, height: 4 }, objects, [segment(1, [0, 0, 2, 2]), segment(2, null), segment(3, [2, 2, 2, 2])]);
  assert.deepEqual(coco.categories, [{ id: 1, name: 'Cup' }]);
  assert.deepEqual(coco.annotations.map(({ id, category_id: category }) => [id, category]), [[1, 1], [2, 1]]);
});

test('file names and mask prompts are quoted in code', () => {
  const fields = { segment_prompt: [[[1, 2]], []], boxes: [null, [0, 0, 4, 4]], mask_prompts: [null, { size: [4, 4], counts: "a\\b'c" }] };
  const request = { url: 'http://h', file: `it's "one".jpg`, ignoreExif: false, model: 'm', fields, needsKey: true };
  const python = pythonCode(request);
  assert.ok(python.includes(String.raw`Path("it's \"one\".jpg")`));
  assert.ok(python.includes('boxes=[None, [0, 0, 4, 4]],'));
  assert.ok(python.includes(String.raw`{"size": [4, 4], "counts": "a\\b'c"}`));
  const curl = curlCode(request);
  assert.ok(curl.includes(String.raw`'image=@"it'\''s \"one\".jpg"'`));
  assert.ok(!pythonCode({ ...request, needsKey: false }).includes('environ'));
  assert.ok(!(python + curl).includes('exif'));
  const ignored = { ...request, ignoreExif: true };
  assert.equal(pythonCode(ignored).match(/exif="ignore"/g).length, 2);
  assert.match(curlCode(ignored), /"exif":"ignore"/);
});

test('exported files are named after the image', () => {
  assert.equal(exportName('my.cat.jpg', 'mask.png'), 'my.cat-mask.png');
  assert.equal(exportName('.jpg', 'mask.png'), 'image-mask.png');
});

test('an image has the session id of its bytes, and a random one where the browser computes no hash', async () => {
  assert.equal(await sessionIdOf(new Blob(['abc'])), 'ba7816bf8f01cfea414140de5dae2223');
  const { subtle } = crypto;
  Object.defineProperty(crypto, 'subtle', { value: undefined, configurable: true });
  try {
    const ids = await Promise.all([sessionIdOf(new Blob(['abc'])), sessionIdOf(new Blob(['abc']))]);
    assert.ok(ids.every((id) => /^[0-9a-f]{32}$/.test(id)));
    assert.notEqual(ids[0], ids[1]);
  } finally {
    Object.defineProperty(crypto, 'subtle', { value: subtle, configurable: true });
  }
});
