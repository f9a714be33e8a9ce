/** Undo and redo around the prompt. A pure reducer. */

import { EMPTY, reducePrompt } from './prompt.js';

/** @typedef {import('./prompt.js').Prompt} Prompt */
/** @typedef {import('./prompt.js').PromptAction} PromptAction */

/** @typedef {{ past: Prompt[], present: Prompt, future: Prompt[] }} History */
/** @typedef {PromptAction | { type: 'undo' } | { type: 'redo' } | { type: 'clear' }} HistoryAction */

/** Steps that can be taken back. */
const MOST = 200;

// Looking is no step: taking it back would surprise.
const UNRECORDED = new Set(['select', 'hide']);

/** @type {History} */
export const FRESH = { past: [], present: EMPTY, future: [] };

/**
 * @param {History} history
 * @param {HistoryAction} action
 * @returns {History}
 */
export function reduceHistory(history, action) {
  const { past, present, future } = history;
  switch (action.type) {
    case 'clear':
      return FRESH;
    case 'undo': {
      const before = past.at(-1);
      return before ? { past: past.slice(0, -1), present: before, future: [present, ...future] } : history;
    }
    case 'redo': {
      const [after, ...rest] = future;
      return after ? { past: [...past, present], present: after, future: rest } : history;
    }
    default: {
      const next = reducePrompt(present, action);
      if (next === present) return history;
      if (UNRECORDED.has(action.type)) return { past, present: next, future };
      return { past: [...past, present].slice(-MOST), present: next, future: [] };
    }
  }
}
