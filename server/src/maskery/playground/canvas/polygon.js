/** Draws polygons, and moves the corners of the selected object's outline. */

import { announce } from '../dom.js';
import { toBitmap } from '../mask/bitmap.js';
import { distanceToSegment, fillRings, toPolygons } from '../mask/polygons.js';
import { measure } from '../mask/segmentation.js';
import { selectedObject } from '../state/prompt.js';
import { strokeVisibly } from './marks.js';

/** @typedef {import('../mask/bitmap.js').Bitmap} Bitmap */
/** @typedef {import('../mask/polygons.js').Ring} Ring */
/** @typedef {import('../session/mask-editor.js').MaskEditor} MaskEditor */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('../state/store.js').State} State */
/** @typedef {import('./stage.js').Stage} Stage */
/** @typedef {import('./view.js').Position} Position */

/** CSS pixels within which the pointer is on a corner or an edge. */
const REACH = 9;
/** CSS pixels by which the corners that are shown may differ from the mask. */
const TOLERANCE = 3;
const RADIUS = 4.5;

/** @typedef {{ ring: number, corner: number }} Corner */

export class PolygonTool {
  #store;
  #stage;
  #editor;
  /** @type {Ring} the corners of the polygon that is being drawn */
  #draft = [];
  #cuts = false;
  /** @type {Position | null} where the next corner of the draft would be */
  #pointer = null;
  /** @type {Ring[]} the outline of the selected object, simplified */
  #rings = [];
  /** @type {Corner | null} the corner that is being moved */
  #held = null;
  /** @type {Ring[]} the outline before it was moved */
  #before = [];
  /** @type {Ring[]} the outline after the latest change */
  #wanted = [];
  /** @type {unknown[]} what the outline was taken from */
  #source = [];

  /**
   * @param {Store} store
   * @param {Stage} stage
   * @param {MaskEditor} editor
   */
  constructor(store, stage, editor) {
    this.#store = store;
    this.#stage = stage;
    this.#editor = editor;
    stage.addLayer((context) => this.#draw(context));
    store.subscribe((state, before) => {
      if (state.tool !== before.tool || state.image !== before.image) this.cancel();
    });
  }

  /**
   * Press at a position: take hold of a corner, or of a new one on an edge.
   *
   * @param {Position} position in the image
   * @returns {boolean} whether there is one
   */
  grab(position) {
    if (this.#draft.length) return false;
    this.#update(this.#store.state);
    this.#before = this.#rings;
    this.#held = this.#cornerAt(position) ?? this.#insertAt(position);
    return this.#held !== null;
  }

  /** @param {Position} position in the image */
  move(position) {
    this.#pointer = position;
    const held = this.#held;
    if (held) {
      this.#rings = this.#rings.map((ring, index) =>
        index === held.ring ? ring.map((corner, at) => (at === held.corner ? [position.x, position.y] : corner)) : ring,
      );
    }
    if (held || this.#draft.length) this.#stage.invalidate();
  }

  /** Whether a corner is being moved. */
  get isHolding() {
    return this.#held !== null;
  }

  /** Leave the corner where it is now. */
  release() {
    if (!this.#held) return;
    this.#held = null;
    if (this.#rings !== this.#before) this.#apply(this.#before, this.#rings);
  }

  /**
   * Click at a position: add a corner to the draft, or close it.
   *
   * @param {Position} position in the image
   * @param {boolean} cuts whether the polygon is removed from the object in place of being added to it
   */
  click(position, cuts) {
    const [first] = this.#draft;
    if (!first) this.#cuts = cuts;
    if (first && this.#draft.length > 2 && this.#isNear(position, first)) this.close();
    else this.#draft = [...this.#draft, [position.x, position.y]];
    this.#pointer = position;
    this.#stage.invalidate();
  }

  /** Make the draft a part of the mask. Returns whether there was one. */
  close() {
    const draft = this.#draft;
    this.#draft = [];
    this.#stage.invalidate();
    if (draft.length < 3) return draft.length > 0;
    const value = this.#cuts ? 0 : 1;
    // The corners of a new object stay those that the user has set.
    if (!this.#rings.length && !this.#cuts) this.#wanted = [draft];
    const wanted = this.#wanted;
    const edited = this.#editor.edit(({ width, height, values }) => {
      fillRings([draft], width, height).forEach((inside, at) => inside && (values[at] = value));
    });
    void edited.then(() => this.#keepCorners(wanted[0] === draft ? wanted : null));
    announce(this.#cuts ? 'Polygon removed from the object.' : 'Polygon added.');
    return true;
  }

  /**
   * Remove a corner of the outline.
   *
   * @param {Position} position in the image
   * @returns {boolean} whether there is one at the position
   */
  remove(position) {
    const found = this.#cornerAt(position);
    if (!found) return false;
    const before = this.#rings;
    this.#rings = before
      .map((ring, index) => (index === found.ring ? ring.filter((_, at) => at !== found.corner) : ring))
      .filter((ring) => ring.length > 2);
    this.#apply(before, this.#rings);
    return true;
  }

  /** Remove the last corner of the draft. Returns whether there was one. */
  removeLast() {
    const had = this.#draft.length > 0;
    this.#draft = this.#draft.slice(0, -1);
    this.#stage.invalidate();
    return had;
  }

  /** Returns whether there was something to cancel. */
  cancel() {
    const had = this.#draft.length > 0 || this.#held !== null;
    if (this.#held) this.#rings = this.#before;
    this.#held = null;
    this.#draft = [];
    this.#pointer = null;
    this.#stage.invalidate();
    return had;
  }

  /**
   * Whether the pointer is on a corner.
   *
   * @param {Position} position in the image
   */
  isOnCorner(position) {
    return this.#draft.length === 0 && this.#cornerAt(position) !== null;
  }

  /**
   * Change only the pixels between the outline before and after, so that the rest of the mask stays exact.
   *
   * @param {Ring[]} before
   * @param {Ring[]} after
   */
  #apply(before, after) {
    this.#wanted = after;
    const edited = this.#editor.edit(({ width, height, values }) => {
      const old = fillRings(before, width, height);
      fillRings(after, width, height).forEach((inside, at) => inside !== old[at] && (values[at] = inside));
    });
    void edited.then(() => this.#keepCorners(after));
  }

  /**
   * Show the corners that the user has set in place of those of the new mask.
   *
   * @param {Ring[] | null} rings
   */
  #keepCorners(rings) {
    this.#update(this.#store.state);
    if (rings && rings === this.#wanted && !this.#held) this.#rings = rings;
    this.#stage.invalidate();
  }

  /**
   * Take the outline from the selected object's mask, if that has changed.
   *
   * @param {State} state
   */
  #update({ tool, segmentation, history, image }) {
    if (tool !== 'polygon' || this.#held || !image) return;
    const object = selectedObject(history.present);
    // Finer when the image is enlarged, so that details can be reached.
    const tolerance = 2 ** Math.round(Math.log2(Math.max(1, TOLERANCE / this.#stage.view.scale)));
    const source = [object?.id, object && (object.mask ?? segmentation), tolerance];
    if (source.every((each, index) => each === this.#source[index])) return;
    this.#source = source;
    this.#rings = object ? outline(object, segmentation, image, tolerance) : [];
  }

  /**
   * @param {Position} position in the image
   * @returns {Corner | null}
   */
  #cornerAt(position) {
    for (const [ring, corners] of this.#rings.entries()) {
      const corner = corners.findIndex((each) => this.#isNear(position, each));
      if (corner >= 0) return { ring, corner };
    }
    return null;
  }

  /**
   * Insert a corner into the edge at a position.
   *
   * @param {Position} position in the image
   * @returns {Corner | null}
   */
  #insertAt({ x, y }) {
    const reach = REACH / this.#stage.view.scale;
    for (const [ring, corners] of this.#rings.entries()) {
      const edge = corners.findIndex((start, index) => {
        return distanceToSegment([x, y], start, corners[(index + 1) % corners.length] ?? start) <= reach;
      });
      if (edge < 0) continue;
      this.#rings = this.#rings.map((each, index) => (index === ring ? each.toSpliced(edge + 1, 0, [x, y]) : each));
      return { ring, corner: edge + 1 };
    }
    return null;
  }

  /**
   * @param {Position} position
   * @param {[number, number]} corner
   */
  #isNear(position, [x, y]) {
    return Math.hypot(position.x - x, position.y - y) * this.#stage.view.scale <= REACH;
  }

  /** @param {CanvasRenderingContext2D} context */
  #draw(context) {
    if (this.#store.state.tool !== 'polygon') return;
    this.#update(this.#store.state);
    for (const ring of this.#rings) this.#drawRing(context, ring, true);
    if (!this.#draft.length) return;
    const next = this.#pointer ? [/** @type {[number, number]} */ ([this.#pointer.x, this.#pointer.y])] : [];
    this.#drawRing(context, [...this.#draft, ...next], false);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Ring} ring
   * @param {boolean} closed
   */
  #drawRing(context, ring, closed) {
    const corners = ring.map(([x, y]) => this.#stage.view.toScreen({ x, y }));
    context.beginPath();
    corners.forEach(({ x, y }, index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (closed) context.closePath();
    strokeVisibly(context, 1.5);
    for (const { x, y } of corners) {
      context.beginPath();
      context.arc(x, y, RADIUS, 0, 2 * Math.PI);
      context.fillStyle = '#fff';
      context.fill();
      context.strokeStyle = 'rgb(0 0 0 / 0.7)';
      context.stroke();
    }
  }
}

/**
 * The outline of an object's visible mask, in pixels of the image.
 *
 * @param {import('../state/prompt.js').ObjectPrompt} object
 * @param {import('../mask/segmentation.js').Segmentation | null} segmentation
 * @param {{ width: number, height: number }} image
 * @param {number} tolerance in pixels of the image
 * @returns {Ring[]}
 */
function outline(object, segmentation, image, tolerance) {
  if (object.mask) {
    const bitmap = toBitmap(object.mask.rle);
    const bbox = measure(bitmap, 1)[0]?.bbox;
    return bbox ? toPolygons(bitmap, 1, bbox, tolerance).flat() : [];
  }
  const result = segmentation?.results.get(object.id);
  if (!segmentation || !result?.bbox || result.sameAs !== null) return [];
  const { mask, ids } = segmentation;
  const [scaleX, scaleY] = [image.width / mask.width, image.height / mask.height];
  const rings = toPolygons(mask, ids.indexOf(object.id) + 1, result.bbox, tolerance / scaleX).flat();
  return rings.map((ring) => ring.map(([x, y]) => [x * scaleX, y * scaleY]));
}
