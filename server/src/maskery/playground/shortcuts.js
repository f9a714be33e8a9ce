/** All shortcuts, as the keyboard handler runs them and the help dialog lists them. */

import { announce } from './dom.js';
import { assignLabel } from './panels/labels.js';
import { selectedObject } from './state/prompt.js';

/** @typedef {import('./keyboard.js').Group} Group */
/** @typedef {import('./state/store.js').Store} Store */
/** @typedef {import('./state/store.js').ViewMode} ViewMode */
/** @typedef {import('./canvas/brush.js').Brush} Brush */
/** @typedef {import('./canvas/polygon.js').PolygonTool} PolygonTool */
/** @typedef {import('./canvas/stage.js').Stage} Stage */
/** @typedef {import('./project/project.js').Project} Project */

/** @type {ViewMode[]} */
const VIEW_MODES = ['overlay', 'cutout', 'mask'];
/** Of the first labels. */
const NUMBER_KEYS = ['1', '2', '3', '4', '5', '6', '7', '8', '9'];
/** CSS pixels within which the crosshair is on a point. */
const REACH = 14;

/**
 * @param {Store} store
 * @param {Stage} stage
 * @param {Project} project
 * @param {{ brush: Brush, polygon: PolygonTool }} edit
 * @param {{ open: () => void, help: () => void, cancel: () => void, focusCanvas: () => void }} page
 * @returns {Group[]}
 */
export function shortcuts(store, stage, project, edit, page) {
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
        { keys: ['Alt+Click'], description: 'Remove a point, or a corner of a polygon' },
        { keys: ['Wheel', 'Pinch'], description: 'Zoom; hold Space and drag to pan' },
      ],
    },
    {
      title: 'Without a mouse',
      shortcuts: [
        { keys: ['Arrows'], description: 'Move the crosshair; Shift: by one pixel, Alt: pan the image' },
        { keys: ['Enter'], description: 'Add a point or a corner at the crosshair; put the brush down, or lift it' },
        { keys: ['Shift+Enter'], description: 'Add a negative point; close the polygon' },
        { keys: ['x'], description: 'Remove the point under the crosshair', run: () => removePoint(store, stage, edit.polygon) },
        { keys: ['Escape'], description: 'Cancel what is being drawn', run: page.cancel },
        { keys: ['f'], description: 'Focus the image', run: page.focusCanvas },
      ],
    },
    {
      title: 'Tools',
      shortcuts: [
        { keys: ['i'], description: 'Include: clicks are on the object', run: selectTool('include') },
        { keys: ['e'], description: 'Exclude: clicks are not on the object', run: selectTool('exclude') },
        { keys: ['b'], description: 'Box around the object', run: selectTool('box') },
        { keys: ['p'], description: 'Brush: paint the object; Shift erases', run: selectTool('brush') },
        { keys: ['r'], description: 'Eraser', run: selectTool('erase') },
        { keys: ['q'], description: 'Smaller brush', run: () => edit.brush.resize(-1) },
        { keys: ['w'], description: 'Larger brush', run: () => edit.brush.resize(1) },
        { keys: ['g'], description: 'Polygon: draw one, or move the corners of the object', run: selectTool('polygon') },
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
        { keys: ['+', '='], shown: ['+'], description: 'Zoom in', run: zoom(1.25) },
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
          run: () => void (edit.polygon.removeLast() || store.edit({ type: 'remove-last' })),
        },
        {
          keys: ['Delete'],
          description: 'Delete the object',
          run: withSelected((id) => store.edit({ type: 'delete', id })),
        },
        { keys: ['Ctrl+z'], description: 'Undo', run: () => store.edit({ type: 'undo' }) },
        { keys: ['Ctrl+Shift+z', 'Ctrl+y'], description: 'Redo', run: () => store.edit({ type: 'redo' }) },
        {
          keys: NUMBER_KEYS,
          shown: ['1 … 9'],
          description: 'Label the object, and new ones',
          run: (event) => labelByKey(store, Number(event.key)),
        },
      ],
    },
    {
      title: 'Images',
      shortcuts: [
        { keys: ['o'], description: 'Open images', run: page.open },
        { keys: ['PageDown', '.'], description: 'Next image', run: () => void project.go(1) },
        { keys: ['PageUp', ','], description: 'Previous image', run: () => void project.go(-1) },
        { keys: ['d'], description: 'Mark the image as done, and show the next one', run: () => finish(store, project) },
        { keys: ['?'], description: 'Show this list', run: page.help },
      ],
    },
  ];
}

/**
 * @param {Store} store
 * @param {number} number of the label, from 1
 */
function labelByKey(store, number) {
  const label = store.state.labels.items[number - 1];
  if (label) assignLabel(store, label.id);
}

/**
 * Mark the image as done, or as not done if it was.
 *
 * @param {Store} store
 * @param {Project} project
 */
function finish(store, project) {
  const { items, current } = store.state.images;
  const item = items.find((each) => each.id === current);
  if (!item) return;
  project.setDone(item.id, !item.done);
  announce(item.done ? `${item.name} is not done.` : `${item.name} is done.`);
  if (!item.done) void project.go(1);
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
 * @param {PolygonTool} polygon
 */
function removePoint(store, stage, polygon) {
  const object = selectedObject(store.prompt);
  const crosshair = stage.crosshair;
  if (!object || !crosshair) return;
  if (store.state.tool === 'polygon') {
    polygon.remove({ x: crosshair.x + 0.5, y: crosshair.y + 0.5 });
    return;
  }
  const reach = Math.max(1, REACH / stage.view.scale);
  const distances = object.points.map(({ x, y }) => Math.hypot(x - crosshair.x, y - crosshair.y));
  const index = distances.indexOf(Math.min(...distances));
  if (index >= 0 && (distances[index] ?? Infinity) <= reach) store.edit({ type: 'remove-point', id: object.id, index });
}
