/** Every shortcut there is: what the keyboard does, and what the help lists. */

import { selectedThing } from './state/prompt.js';

/** @typedef {import('./keyboard.js').Group} Group */
/** @typedef {import('./state/store.js').Store} Store */
/** @typedef {import('./state/store.js').Look} Look */
/** @typedef {import('./canvas/stage.js').Stage} Stage */

/** @type {Look[]} */
const LOOKS = ['overlay', 'cutout', 'mask'];
const NEAR = 14;

/**
 * @param {Store} store
 * @param {Stage} stage
 * @param {{ open: () => void, help: () => void, leave: () => void, focusStage: () => void }} page
 * @returns {Group[]}
 */
export function shortcuts(store, stage, page) {
  /** @param {import('./state/store.js').Tool} tool */
  const use = (tool) => () => store.dispatch({ type: 'tool', tool });
  /** @param {number} factor */
  const zoom = (factor) => () => {
    if (stage.crosshair) stage.view.zoom(factor, stage.view.toScreen(stage.crosshair));
    else stage.view.zoom(factor);
    stage.moved();
  };
  /** @param {(id: number) => void} run */
  const onSelected = (run) => () => {
    const thing = selectedThing(store.prompt);
    if (thing) run(thing.id);
  };
  /** @param {1 | -1} by */
  const select = (by) => () => {
    const { things, selected } = store.prompt;
    const place = things.findIndex((thing) => thing.id === selected);
    const next = things[(place + by + things.length) % Math.max(1, things.length)];
    if (next) store.ask({ type: 'select', id: next.id });
  };
  return [
    {
      title: 'On the picture',
      shortcuts: [
        { keys: ['Click'], does: 'Add a point on the object' },
        { keys: ['Shift+Click', 'Right click'], does: 'Add a point that is not on it' },
        { keys: ['Drag'], does: 'Draw a box around it; drag a point to move it' },
        { keys: ['Alt+Click'], does: 'Remove the point' },
        { keys: ['Wheel', 'Pinch'], does: 'Zoom; hold Space and drag to move' },
      ],
    },
    {
      title: 'Without a mouse',
      shortcuts: [
        { keys: ['Arrows'], does: 'Move the crosshair; with Shift by one pixel, with Alt the picture' },
        { keys: ['Enter'], does: 'Add a point there, or a corner of a box' },
        { keys: ['Shift+Enter'], does: 'Add a point that is not on the object' },
        { keys: ['x'], does: 'Remove the point under the crosshair', run: () => removeNear(store, stage) },
        { keys: ['Escape'], does: 'Give up a box that has begun', run: page.leave },
        { keys: ['f'], does: 'Go to the picture', run: page.focusStage },
      ],
    },
    {
      title: 'Tools',
      shortcuts: [
        { keys: ['i'], does: 'Include: clicks are on the object', run: use('include') },
        { keys: ['e'], does: 'Exclude: clicks are not on it', run: use('exclude') },
        { keys: ['b'], does: 'Box', run: use('box') },
        { keys: ['m'], does: 'Move the picture', run: use('move') },
        {
          keys: ['v'],
          does: 'Next view: overlay, cut-out, mask',
          run: () => {
            const look = LOOKS[(LOOKS.indexOf(store.state.look) + 1) % LOOKS.length] ?? 'overlay';
            store.dispatch({ type: 'look', look });
          },
        },
        { keys: ['+', '='], does: 'Zoom in', run: zoom(1.25) },
        { keys: ['-'], does: 'Zoom out', run: zoom(0.8) },
        {
          keys: ['0'],
          does: 'The whole picture',
          run: () => {
            stage.view.fit();
            stage.moved();
          },
        },
      ],
    },
    {
      title: 'Objects',
      shortcuts: [
        { keys: ['n'], does: 'New object', run: () => store.ask({ type: 'new' }) },
        { keys: [']'], does: 'Next object', run: select(1) },
        { keys: ['['], does: 'Previous object', run: select(-1) },
        { keys: ['h'], does: 'Hide or show the object', run: onSelected((id) => toggle(store, id)) },
        { keys: ['Backspace'], does: 'Remove its last point', run: () => store.ask({ type: 'remove-last' }) },
        { keys: ['Delete'], does: 'Delete the object', run: onSelected((id) => store.ask({ type: 'delete', id })) },
        { keys: ['Ctrl+z'], does: 'Undo', run: () => store.ask({ type: 'undo' }) },
        { keys: ['Ctrl+Shift+z', 'Ctrl+y'], does: 'Redo', run: () => store.ask({ type: 'redo' }) },
        { keys: ['o'], does: 'Open a picture', run: page.open },
        { keys: ['?'], does: 'This list', run: page.help },
      ],
    },
  ];
}

/**
 * @param {Store} store
 * @param {number} id
 */
function toggle(store, id) {
  const thing = store.prompt.things.find((each) => each.id === id);
  if (thing) store.ask({ type: 'hide', id, hidden: !thing.hidden });
}

/**
 * @param {Store} store
 * @param {Stage} stage
 */
function removeNear(store, stage) {
  const thing = selectedThing(store.prompt);
  const crosshair = stage.crosshair;
  if (!thing || !crosshair) return;
  const reach = Math.max(1, NEAR / stage.view.scale);
  const distances = thing.points.map(({ x, y }) => Math.hypot(x - crosshair.x, y - crosshair.y));
  const index = distances.indexOf(Math.min(...distances));
  if (index >= 0 && (distances[index] ?? Infinity) <= reach) store.ask({ type: 'remove-point', id: thing.id, index });
}
