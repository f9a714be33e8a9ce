import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApiError, ServerUnreachable, toApiError } from '../../../server/src/maskery/playground/api/errors.js';
import { KeyStore, consumeFragment } from '../../../server/src/maskery/playground/api/key.js';
import { retryDelay, retryNow, withRetries } from '../../../server/src/maskery/playground/api/retry.js';
import { sessionIdOf } from '../../../server/src/maskery/playground/api/session-id.js';
import { joinRings, toCoco } from '../../../server/src/maskery/playground/export/coco.js';
import { curlCode, pythonCode } from '../../../server/src/maskery/playground/export/code.js';
import { exportName } from '../../../server/src/maskery/playground/export/names.js';
import { toYolo } from '../../../server/src/maskery/playground/export/yolo.js';
import { readZip, writeZip } from '../../../server/src/maskery/playground/files/zip.js';
import { readProject, writeProject } from '../../../server/src/maskery/playground/project/project-file.js';

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

const annotation = (label, score = 0.5) => ({ label, area: 4, bbox: [0, 0, 2, 2], score, rle: { size: [4, 4], counts: 'x' }, polygons: [] });
const labels = { items: [{ id: 3, name: 'Cup' }, { id: 7, name: 'Spoon' }], current: null, next: 8 };

test('labels are the categories of COCO files, and objects without one share a category', () => {
  const images = [
    { image: { name: 'a.jpg', width: 4, height: 4 }, annotations: [annotation(7), annotation(null, null)] },
    { image: { name: 'b.jpg', width: 4, height: 4 }, annotations: [annotation(99), annotation(7)] },
  ];
  const coco = toCoco(images, labels);
  assert.deepEqual(coco.categories, [{ id: 3, name: 'Cup' }, { id: 7, name: 'Spoon' }, { id: 8, name: 'object' }]);
  const ids = coco.annotations.map(({ id, image_id: image, category_id: category }) => [id, image, category]);
  assert.deepEqual(ids, [[1, 1, 7], [2, 1, 8], [3, 2, 8], [4, 2, 7]]);
  assert.equal('score' in coco.annotations[1], false);
  assert.deepEqual(toCoco(images.slice(0, 0), labels).categories.length, 2);
});

test('a line of a YOLO file has the class and relative coordinates of an object with all of its parts', async () => {
  const square = (x, y) => [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
  const both = { ...annotation(7), polygons: [[square(0, 0)], [square(2, 2)]] };
  const image = { name: 'a.b.jpg', width: 4, height: 8 };
  const files = toYolo([{ image, annotations: [both] }, { image, annotations: [annotation(null)] }], labels);
  assert.deepEqual(files.map(({ name }) => name), ['data.yaml', 'labels/a.b.txt', 'labels/a.b-2.txt']);
  const [yaml, first] = await Promise.all(files.map(({ data }) => data.text()));
  assert.match(yaml, /names:\n  0: "Cup"\n  1: "Spoon"\n  2: "object"\n$/);
  const [number, ...coordinates] = first.trim().split(' ').map(Number);
  assert.equal(number, 1);
  assert.deepEqual(coordinates.slice(0, 6), [0, 0, 0.25, 0, 0.25, 0.125]);
  assert.deepEqual(coordinates.slice(6, 16), [0.5, 0.25, 0.75, 0.25, 0.75, 0.375, 0.5, 0.375, 0.5, 0.25]);
});

test('ZIP files can be read again, and damaged ones are refused', async () => {
  const entries = [{ name: 'a/ü.txt', data: new Blob(['one']) }, { name: 'b', data: new Blob([]) }];
  const zip = await writeZip(entries);
  const read = await readZip(zip);
  assert.deepEqual(await Promise.all(read.map(async ({ name, data }) => [name, await data.text()])), [['a/ü.txt', 'one'], ['b', '']]);
  const bytes = new Uint8Array(await zip.arrayBuffer());
  const commented = new Blob([bytes.slice(0, -2), new Uint8Array([3, 0]), 'hey']);
  assert.equal((await readZip(commented)).length, 2);
  bytes[40] ^= 1;
  await assert.rejects(readZip(new Blob([bytes])), /damaged/);
  await assert.rejects(readZip(new Blob(['no'])), /not a ZIP file/);
  await assert.rejects(readZip(zip.slice(30)), /damaged/);
});

test('a saved project has everything but undo', async () => {
  const history = { past: [{}], present: { objects: [{ id: 1, label: 3 }], selected: 1, next: 2 }, future: [] };
  const response = { requested: 'r', ids: [1], data: {} };
  const image = { id: 'x', name: 'a/b.jpg', file: new Blob(['pixels']) };
  const file = await writeProject([{ image, work: { history, model: 'm', done: true, response } }], labels);
  const project = await readProject(file);
  assert.deepEqual(project.labels, labels);
  const [{ name, file: pixels, work }] = project.images;
  assert.deepEqual([name, await pixels.text()], ['a/b.jpg', 'pixels']);
  assert.deepEqual(work, { model: 'm', done: true, response, history: { past: [], present: history.present, future: [] } });
  await assert.rejects(readProject(await writeZip([])), /no project.json/);
  const other = await writeZip([{ name: 'project.json', data: new Blob(['{"format": "x"}']) }]);
  await assert.rejects(readProject(other), /not saved by Maskery/);
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
