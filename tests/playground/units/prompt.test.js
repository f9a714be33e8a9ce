import assert from 'node:assert/strict';
import { test } from 'node:test';

import { toFields } from '../../../server/src/maskery/playground/state/fields.js';
import { FRESH, reduceHistory } from '../../../server/src/maskery/playground/state/history.js';
import { EMPTY, isAskable, reducePrompt } from '../../../server/src/maskery/playground/state/prompt.js';
import { INITIAL, Store, reduce } from '../../../server/src/maskery/playground/state/store.js';

const point = (x, y, on = true) => ({ type: 'point', x, y, on });
const after = (...actions) => actions.reduce(reducePrompt, EMPTY);
const history = (...actions) => actions.reduce(reduceHistory, FRESH);

test('the first point begins the first object, further ones refine it', () => {
  const { things, selected } = after(point(1, 2), point(3, 4, false));
  assert.equal(things.length, 1);
  assert.equal(selected, 1);
  assert.deepEqual(things[0].points, [{ x: 1, y: 2, on: true }, { x: 3, y: 4, on: false }]);
});

test('a new object waits for its first point, and only one waits', () => {
  const prompt = after(point(1, 2), { type: 'new' }, { type: 'new' });
  assert.deepEqual(prompt.things.map((thing) => thing.name), ['Object 1', 'Object 2']);
  assert.equal(prompt.selected, 2);
  const back = reducePrompt(reducePrompt(prompt, { type: 'select', id: 1 }), { type: 'new' });
  assert.equal(back.selected, 2);
});

test('what is deleted keeps the colours of the others, and its neighbour is selected', () => {
  const prompt = after(point(1, 1), { type: 'new' }, point(2, 2), { type: 'new' }, point(3, 3));
  const less = reducePrompt(prompt, { type: 'delete', id: 3 });
  assert.deepEqual(less.things.map((thing) => thing.id), [1, 2]);
  assert.equal(less.selected, 2);
  assert.equal(reducePrompt(less, { type: 'new' }).selected, 4);
  assert.deepEqual(['delete', 'delete'].reduce((p, type, i) => reducePrompt(p, { type, id: i + 1 }), less), EMPTY);
});

test('the last point goes first, then the box, then what was started from', () => {
  let prompt = after({ type: 'box', box: [0, 0, 5, 5] }, point(1, 1), { type: 'start', id: 1, start: { size: [5, 5], counts: '0' } });
  for (const left of ['box', 'start', 'nothing']) {
    prompt = reducePrompt(prompt, { type: 'remove-last' });
    const [thing] = prompt.things;
    assert.equal(thing.points.length, 0);
    assert.equal(Boolean(thing.box), left === 'box');
    assert.equal(Boolean(thing.start), left !== 'nothing');
  }
  assert.equal(reducePrompt(prompt, { type: 'remove-last' }), prompt);
});

test('an object that only says where it is not cannot be asked for', () => {
  const { things } = after(point(1, 1, false));
  assert.equal(isAskable(things[0]), false);
  assert.equal(toFields(things), null);
});

test('fields in which every object has the default are left out', () => {
  assert.deepEqual(toFields(after(point(1, 2)).things).fields, { segment_prompt: [[[1, 2]]] });
  const { fields } = toFields(after(point(1, 2), point(2, 3, false), { type: 'new' }, { type: 'box', box: [0, 0, 4, 4] }).things);
  assert.deepEqual(fields, {
    segment_prompt: [[[1, 2], [2, 3]], []],
    point_labels: [[1, 0], []],
    boxes: [null, [0, 0, 4, 4]],
  });
});

test('undo and redo go through every step but looking', () => {
  const steps = history(point(1, 1), { type: 'hide', id: 1, hidden: true }, { type: 'new' }, point(2, 2));
  assert.equal(steps.past.length, 3);
  const undone = ['undo', 'undo', 'undo', 'undo'].reduce((state, type) => reduceHistory(state, { type }), steps);
  assert.deepEqual(undone.present, EMPTY);
  const redone = ['redo', 'redo', 'redo'].reduce((state, type) => reduceHistory(state, { type }), undone);
  assert.deepEqual(redone.present, steps.present);
  assert.equal(reduceHistory(redone, { type: 'redo' }), redone);
});

test('a new step forgets what could be redone', () => {
  const state = history(point(1, 1), point(2, 2), { type: 'undo' }, point(3, 3));
  assert.deepEqual(state.future, []);
  assert.equal(state.present.things[0].points.length, 2);
});

test('a new picture begins a new history', () => {
  const state = reduce({ ...INITIAL, history: history(point(1, 1)) }, { type: 'picture', picture: {} });
  assert.equal(state.history, FRESH);
});

test('whoever listens is told in the order in which things happened', () => {
  const store = new Store();
  const told = [];
  store.subscribe((state) => state.tool === 'box' && store.dispatch({ type: 'tool', tool: 'move' }));
  store.subscribe((state) => told.push(state.tool));
  store.dispatch({ type: 'tool', tool: 'box' });
  assert.deepEqual(told, ['box', 'move']);
});
