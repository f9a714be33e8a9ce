import assert from 'node:assert/strict';
import { test } from 'node:test';

import { toFields } from '../../../server/src/maskery/playground/state/fields.js';
import { EMPTY_HISTORY, reduceHistory } from '../../../server/src/maskery/playground/state/history.js';
import { EMPTY, isComplete, reducePrompt } from '../../../server/src/maskery/playground/state/prompt.js';
import { NO_LABELS, nameOf, reduceLabels } from '../../../server/src/maskery/playground/state/labels.js';
import { INITIAL, Store, reduce } from '../../../server/src/maskery/playground/state/store.js';

const point = (x, y, positive = true) => ({ type: 'point', x, y, positive });
const after = (...actions) => actions.reduce(reducePrompt, EMPTY);
const history = (...actions) => actions.reduce(reduceHistory, EMPTY_HISTORY);

test('the first point creates an object, and further points refine it', () => {
  const { objects, selected } = after(point(1, 2), point(3, 4, false));
  assert.equal(objects.length, 1);
  assert.equal(selected, 1);
  assert.deepEqual(objects[0].points, [{ x: 1, y: 2, positive: true }, { x: 3, y: 4, positive: false }]);
});

test('there is at most one object without a prompt', () => {
  const prompt = after(point(1, 2), { type: 'new' }, { type: 'new' });
  assert.deepEqual(prompt.objects.map((object) => object.id), [1, 2]);
  assert.equal(prompt.selected, 2);
  const back = reducePrompt(reducePrompt(prompt, { type: 'select', id: 1 }), { type: 'new' });
  assert.equal(back.selected, 2);
});

test('after a deletion the other objects keep their colours and a neighbour is selected', () => {
  const prompt = after(point(1, 1), { type: 'new' }, point(2, 2), { type: 'new' }, point(3, 3));
  const remaining = reducePrompt(prompt, { type: 'delete', id: 3 });
  assert.deepEqual(remaining.objects.map((object) => object.id), [1, 2]);
  assert.equal(remaining.selected, 2);
  assert.equal(reducePrompt(remaining, { type: 'new' }).selected, 4);
  assert.deepEqual(['delete', 'delete'].reduce((p, type, i) => reducePrompt(p, { type, id: i + 1 }), remaining), EMPTY);
});

test('the last point is removed first, then the box, then the mask prompt', () => {
  let prompt = after({ type: 'box', box: [0, 0, 5, 5] }, point(1, 1), { type: 'mask-prompt', id: 1, maskPrompt: { size: [5, 5], counts: '0' } });
  for (const left of ['box', 'mask prompt', 'nothing']) {
    prompt = reducePrompt(prompt, { type: 'remove-last' });
    const [object] = prompt.objects;
    assert.equal(object.points.length, 0);
    assert.equal(Boolean(object.box), left === 'box');
    assert.equal(Boolean(object.maskPrompt), left !== 'nothing');
  }
  assert.equal(reducePrompt(prompt, { type: 'remove-last' }), prompt);
});

test('an object with only negative points is not requested', () => {
  const { objects } = after(point(1, 1, false));
  assert.equal(isComplete(objects[0]), false);
  assert.equal(toFields(objects), null);
});

test('a field is left out if all objects have its default', () => {
  assert.deepEqual(toFields(after(point(1, 2)).objects).fields, { segment_prompt: [[[1, 2]]] });
  const { fields } = toFields(after(point(1, 2), point(2, 3, false), { type: 'new' }, { type: 'box', box: [0, 0, 4, 4] }).objects);
  assert.deepEqual(fields, {
    segment_prompt: [[[1, 2], [2, 3]], []],
    point_labels: [[1, 0], []],
    boxes: [null, [0, 0, 4, 4]],
  });
});

test('undo and redo include all changes except those of what is shown', () => {
  const steps = history(point(1, 1), { type: 'hide', id: 1, hidden: true }, { type: 'new' }, point(2, 2));
  assert.equal(steps.past.length, 3);
  const undone = ['undo', 'undo', 'undo', 'undo'].reduce((state, type) => reduceHistory(state, { type }), steps);
  assert.deepEqual(undone.present, EMPTY);
  const redone = ['redo', 'redo', 'redo'].reduce((state, type) => reduceHistory(state, { type }), undone);
  assert.deepEqual(redone.present, steps.present);
  assert.equal(reduceHistory(redone, { type: 'redo' }), redone);
});

test('a change discards the undone changes', () => {
  const state = history(point(1, 1), point(2, 2), { type: 'undo' }, point(3, 3));
  assert.deepEqual(state.future, []);
  assert.equal(state.present.objects[0].points.length, 2);
});

test('opening an image shows its own history', () => {
  const [first, second] = [history(point(1, 1)), history(point(2, 2), point(3, 3))];
  const state = reduce({ ...INITIAL, history: first }, { type: 'image', image: { id: 'b' }, history: second, model: 'm' });
  assert.equal(state.history, second);
  assert.deepEqual([state.images.current, state.model, state.segmentation], ['b', 'm', null]);
});

const RLE = { size: [2, 2], counts: '04' };

test('a fixed mask takes the place of points and box, and becomes the mask prompt when a point refines it', () => {
  const fixed = after(point(1, 1), { type: 'box', box: [0, 0, 2, 2] }, { type: 'mask', id: 1, rle: RLE });
  const [object] = fixed.objects;
  assert.deepEqual([object.points, object.box, object.mask], [[], null, { rle: RLE, order: 1, score: null }]);
  assert.ok(isComplete(object));
  assert.equal(toFields(fixed.objects), null);
  const refined = reducePrompt(fixed, point(0, 0, false));
  assert.deepEqual(toFields(refined.objects).fields, { segment_prompt: [[[0, 0]]], point_labels: [[0]], mask_prompts: [RLE] });
});

test('the mask that was edited last is on top', () => {
  const masks = [1, 2].map(() => ({ rle: RLE, label: null, score: 0.5 }));
  let prompt = after({ type: 'new' }, { type: 'add-masks', masks });
  assert.deepEqual(prompt.objects.map((object) => [object.id, object.mask.order, object.mask.score]), [[1, 1, 0.5], [2, 2, 0.5]]);
  prompt = reducePrompt(prompt, { type: 'mask', id: 1, rle: RLE });
  assert.deepEqual(prompt.objects.map((object) => object.mask.order), [3, 2]);
});

test('new objects get the label that was used last', () => {
  const store = new Store();
  store.edit(point(1, 1));
  store.label(1, ' Cup ');
  store.edit({ type: 'new' });
  store.edit({ type: 'new' });
  store.edit(point(2, 2));
  assert.deepEqual(store.prompt.objects.map((object) => nameOf(store.state.labels, object)), ['Cup', 'Cup']);
  store.label(2, '');
  store.edit({ type: 'new' });
  assert.deepEqual(store.prompt.objects.map((object) => nameOf(store.state.labels, object)), ['Cup', 'Object 2', 'Object 3']);
  assert.equal(store.state.labels.items.length, 1);
});

test('labels have unique names, and objects of a deleted label have none', () => {
  const act = (...actions) => actions.reduce(reduceLabels, NO_LABELS);
  const labels = act({ type: 'add', name: 'Cup' }, { type: 'add', name: 'Spoon' }, { type: 'add', name: 'Cup ' });
  assert.deepEqual(labels.items.map(({ id, name }) => [id, name]), [[1, 'Cup'], [2, 'Spoon']]);
  assert.equal(reduceLabels(labels, { type: 'rename', id: 2, name: 'Cup' }), labels);
  assert.equal(reduceLabels(labels, { type: 'rename', id: 2, name: '  ' }), labels);
  const without = reduceLabels({ ...labels, current: 1 }, { type: 'delete', id: 1 });
  assert.equal(without.current, null);
  assert.equal(nameOf(without, { id: 7, label: 1 }), 'Object 7');
  assert.equal(reduceLabels(without, { type: 'add', name: 'Cup' }).items[1].id, 3);
});

test('listeners are called in the order of the changes', () => {
  const store = new Store();
  const tools = [];
  store.subscribe((state) => state.tool === 'box' && store.dispatch({ type: 'tool', tool: 'move' }));
  store.subscribe((state) => tools.push(state.tool));
  store.dispatch({ type: 'tool', tool: 'box' });
  assert.deepEqual(tools, ['box', 'move']);
});
