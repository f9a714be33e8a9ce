import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApiError, Unreachable, toApiError } from '../../../server/src/maskery/playground/api/errors.js';
import { Keyring, takeFragment } from '../../../server/src/maskery/playground/api/key.js';
import { hurry, pause, persistently } from '../../../server/src/maskery/playground/api/retry.js';
import { flat, toCoco } from '../../../server/src/maskery/playground/export/coco.js';
import { curlCode, pythonCode } from '../../../server/src/maskery/playground/export/code.js';
import { nameBeside } from '../../../server/src/maskery/playground/export/names.js';

const busy = (retryAfter) => new ApiError(503, 'busy', 'Busy.', retryAfter, null);

test('what may pass is tried again when the server said, what will not pass is not', () => {
  assert.equal(pause(busy(7), 0), 7);
  assert.equal(pause(busy(900), 0), 30);
  assert.equal(pause(new Unreachable(), 0), 0.5);
  assert.ok(pause(new Unreachable(), 99) <= 30);
  assert.equal(pause(new ApiError(504, '', '', null, null), 0), 0.5);
  for (const [status, code] of [[401, 'wrong_key'], [422, 'invalid_prompt'], [500, 'internal_error'], [504, 'deadline_exceeded']]) {
    assert.equal(pause(new ApiError(status, code, '', null, null), 0), null);
  }
});

test('waiting can be cut short, and given up', async () => {
  let tries = 0;
  const told = [];
  const attempt = async () => {
    tries += 1;
    if (tries < 3) throw busy(20);
    return 'mask';
  };
  const waiting = (_, seconds) => {
    told.push(seconds);
    setTimeout(hurry, 1);
  };
  assert.equal(await persistently(attempt, new AbortController().signal, waiting), 'mask');
  assert.deepEqual(told, [20, 20]);
  const abort = new AbortController();
  const given = persistently(() => Promise.reject(busy(20)), abort.signal, () => setTimeout(() => abort.abort(), 1));
  await assert.rejects(given, { name: 'AbortError' });
});

test('an answer of a proxy in its own words is an error all the same', () => {
  const error = toApiError(502, '<html>Bad gateway</html>', () => null);
  assert.equal(error.status, 502);
  assert.match(error.message, /status 502/);
});

test('the key is taken from the address, which forgets it', () => {
  const kept = new Map();
  const storage = { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value), removeItem: (name) => kept.delete(name) };
  let shown = '';
  const history = { replaceState: (_, __, address) => (shown = address) };
  const location = { hash: '#key=mk_1_%2Dx&sample=coffee', pathname: '/', search: '' };
  assert.deepEqual(takeFragment(location, history), { key: 'mk_1_-x', sample: 'coffee' });
  assert.equal(shown, '/');
  const ring = new Keyring(storage);
  ring.keep('mk_2');
  assert.equal(new Keyring(storage).key, 'mk_2');
  ring.keep('');
  assert.equal(new Keyring(storage).key, '');
});

test('a hole hangs on its outside by a line that is walked both ways', () => {
  const outside = [[0, 0], [9, 0], [9, 9], [0, 9]];
  const hole = [[7, 7], [7, 8], [8, 8], [8, 7]];
  assert.deepEqual(flat([outside, hole]), [0, 0, 9, 0, 9, 9, 7, 7, 7, 8, 8, 8, 8, 7, 7, 7, 9, 9, 0, 9]);
});

test('things of one name are one category, and what was not found is no annotation', () => {
  const things = ['Cup', 'Spoon', 'Cup'].map((name, index) => ({ id: index + 5, name }));
  const segment = (value, bbox) => ({ value, bbox, area: 4, score: 0.5, prompts: [value - 1], rle: { size: [4, 4], counts: 'x' } });
  const coco = toCoco({ name: 'a.jpg', width: 4, height: 4 }, things, [segment(1, [0, 0, 2, 2]), segment(2, null), segment(3, [2, 2, 2, 2])]);
  assert.deepEqual(coco.categories, [{ id: 1, name: 'Cup' }]);
  assert.deepEqual(coco.annotations.map(({ id, category_id: category }) => [id, category]), [[1, 1], [2, 1]]);
});

test('code holds any name and any reading', () => {
  const fields = { segment_prompt: [[[1, 2]], []], boxes: [null, [0, 0, 4, 4]], mask_prompts: [null, { size: [4, 4], counts: "a\\b'c" }] };
  const task = { address: 'http://h', file: `it's "one".jpg`, model: 'm', fields, keyed: true };
  const python = pythonCode(task);
  assert.ok(python.includes(String.raw`Path("it's \"one\".jpg")`));
  assert.ok(python.includes('boxes=[None, [0, 0, 4, 4]],'));
  assert.ok(python.includes(String.raw`{"size": [4, 4], "counts": "a\\b'c"}`));
  const curl = curlCode(task);
  assert.ok(curl.includes(String.raw`'image=@"it'\''s \"one\".jpg"'`));
  assert.ok(!pythonCode({ ...task, keyed: false }).includes('environ'));
});

test('files are named after the picture', () => {
  assert.equal(nameBeside('my.cat.jpg', 'mask.png'), 'my.cat-mask.png');
  assert.equal(nameBeside('.jpg', 'mask.png'), 'picture-mask.png');
});
