/** All shortcuts, as the keyboard handler runs them and the help dialog lists them. */

import { selectedObject } from './state/prompt.js';

/** @typedef {import('./keyboard.js').Group} Group */
/** @typedef {import('./state/store.js').Store} Store */
/** @typedef {import('./state/store.js').ViewMode} ViewMode */
/** @typedef {import('./canvas/stage.js').Stage} Stage */

/** @type {ViewMode[]} */
const VIEW_MODES = ['overlay', 'cutout', 'mask'];
/** CSS pixels within which the crosshair is on a point. */
const REACH = 14;

/**
 * @param {Store} store
 * @param {Stage} stage
 * @param {{ open: () => void, help: () => void, cancel: () => void, focusCanvas: () => void }} page
 * @returns {Group[]}
 */
export function shortcuts(store, stage, page) {
  /** @param {import('./state/store.js').Tool} tool */
  const selectTool = (tool) => () => store.dispatch({ type: 'tool', tool });
  /** @param {number} factor */
  const zoom = (factor) => () => {
    if (stage.crosshair) stage.view.zoom(factor, stage.view.toScreen(stage.crosshair));
    else stage.view.zoom(factor);
    stage.viewChanged();
  };
  /** @param {(id: number) => void} run */
  const withSelected = (run) => () => {
    const object = selectedObject(store.prompt);
    if (object) run(object.id);
  };
  /** @param {1 | -1} step */
  const select = (step) => () => {
    const { objects, selected } = store.prompt;
    const index = objects.findIndex((object) => object.id === selected);
    const next = objects[(index + step + objects.length) % Math.max(1, objects.length)];
    if (next) store.edit({ type: 'select', id: next.id });
  };
  return [
    {
      title: 'On the image',
      shortcuts: [
        { keys: ['Click'], description: 'Add a point on the object' },
        { keys: ['Shift+Click', 'Right click'], description: 'Add a negative point, which is not on the object' },
        { keys: ['Drag'], description: 'Draw a box around the object, or move a point' },
        { keys: ['Alt+Click'], description: 'Remove a point' },
        { keys: ['Wheel', 'Pinch'], description: 'Zoom; hold Space and drag to pan' },
      ],
    },
    {
      title: 'Without a mouse',
      shortcuts: [
        { keys: ['Arrows'], description: 'Move the crosshair; Shift: by one pixel, Alt: pan the image' },
        { keys: ['Enter'], description: 'Add a point at the crosshair, or a corner of a box' },
        { keys: ['Shift+Enter'], description: 'Add a negative point' },
        { keys: ['x'], description: 'Remove the point under the crosshair', run: () => removePoint(store, stage) },
        { keys: ['Escape'], description: 'Cancel drawing a box', run: page.cancel },
        { keys: ['f'], description: 'Focus the image', run: page.focusCanvas },
      ],
    },
    {
      title: 'Tools',
      shortcuts: [
        { keys: ['i'], description: 'Include: clicks are on the object', run: selectTool('include') },
        { keys: ['e'], description: 'Exclude: clicks are not on the object', run: selectTool('exclude') },
        { keys: ['b'], description: 'Box around the object', run: selectTool('box') },
        { keys: ['m'], description: 'Pan the image', run: selectTool('move') },
        {
          keys: ['v'],
          description: 'Next view: overlay, cut-out, mask',
          run: () => {
            const next = (VIEW_MODES.indexOf(store.state.viewMode) + 1) % VIEW_MODES.length;
            const viewMode = VIEW_MODES[next] ?? 'overlay';
            store.dispatch({ type: 'view-mode', viewMode });
          },
        },
        { keys: ['+', '='], description: 'Zoom in', run: zoom(1.25) },
        { keys: ['-'], description: 'Zoom out', run: zoom(0.8) },
        {
          keys: ['0'],
          description: 'Fit the image to the window',
          run: () => {
            stage.view.fit();
            stage.viewChanged();
          },
        },
      ],
    },
    {
      title: 'Objects',
      shortcuts: [
        { keys: ['n'], description: 'New object', run: () => store.edit({ type: 'new' }) },
        { keys: [']'], description: 'Next object', run: select(1) },
        { keys: ['['], description: 'Previous object', run: select(-1) },
        { keys: ['h'], description: 'Hide or show the object', run: withSelected((id) => toggleHidden(store, id)) },
        {
          keys: ['Backspace'],
          description: 'Remove the last point of the object',
          run: () => store.edit({ type: 'remove-last' }),
        },
        {
          keys: ['Delete'],
          description: 'Delete the object',
          run: withSelected((id) => store.edit({ type: 'delete', id })),
        },
        { keys: ['Ctrl+z'], description: 'Undo', run: () => store.edit({ type: 'undo' }) },
        { keys: ['Ctrl+Shift+z', 'Ctrl+y'], description: 'Redo', run: () => store.edit({ type: 'redo' }) },
        { keys: ['o'], description: 'Open an image', run: page.open },
        { keys: ['?'], description: 'Show this list', run: page.help },
      ],
    },
  ];
}

/**
 * @param {Store} store
 * @param {number} id
 */
function toggleHidden(store, id) {
  const object = store.prompt.objects.find((each) => each.id === id);
  if (object) store.edit({ type: 'hide', id, hidden: !object.hidden });
}

/**
 * @param {Store} store
 * @param {Stage} stage
 */
function removePoint(store, stage) {
  const object = selectedObject(store.prompt);
  const crosshair = stage.crosshair;
  if (!object || !crosshair) return;
  const reach = Math.max(1, REACH / stage.view.scale);
  const distances = object.points.map(({ x, y }) => Math.hypot(x - crosshair.x, y - crosshair.y));
  const index = distances.indexOf(Math.min(...distances));
  if (index >= 0 && (distances[index] ?? Infinity) <= reach) store.edit({ type: 'remove-point', id: object.id, index });
}
