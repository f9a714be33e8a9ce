/** Undo and redo of changes to the prompt. A pure reducer. */

import { EMPTY, reducePrompt } from './prompt.js';

/** @typedef {import('./prompt.js').Prompt} Prompt */
/** @typedef {import('./prompt.js').PromptAction} PromptAction */

/** @typedef {{ past: Prompt[], present: Prompt, future: Prompt[] }} History */
/** @typedef {PromptAction | { type: 'undo' } | { type: 'redo' } | { type: 'restore', history: History }} HistoryAction */

/** Changes that can be undone. */
const MAX_STEPS = 200;

// These change what is shown, not what is requested.
const NOT_RECORDED = new Set(['select', 'hide']);

/** @type {History} */
export const EMPTY_HISTORY = { past: [], present: EMPTY, future: [] };

/**
 * @param {History} history
 * @param {HistoryAction} action
 * @param {number | null} [label] of new objects
 * @returns {History}
 */
export function reduceHistory(history, action, label = null) {
  const { past, present, future } = history;
  switch (action.type) {
    case 'restore':
      return action.history;
    case 'undo': {
      const previous = past.at(-1);
      return previous ? { past: past.slice(0, -1), present: previous, future: [present, ...future] } : history;
    }
    case 'redo': {
      const [next, ...rest] = future;
      return next ? { past: [...past, present], present: next, future: rest } : history;
    }
    default: {
      const next = reducePrompt(present, action, label);
      if (next === present) return history;
      if (NOT_RECORDED.has(action.type)) return { past, present: next, future };
      return { past: [...past, present].slice(-MAX_STEPS), present: next, future: [] };
    }
  }
}
