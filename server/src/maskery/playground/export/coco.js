/** COCO's JSON: one picture, a category for every name, an annotation for every thing. */

/** @typedef {import('../api/client.js').Segment} Segment */
/** @typedef {import('../picture/picture.js').Picture} Picture */
/** @typedef {import('../state/prompt.js').Thing} Thing */
/** @typedef {[number, number][]} Ring */

/**
 * @param {Pick<Picture, 'name' | 'width' | 'height'>} picture
 * @param {Thing[]} things in the order in which they were asked for
 * @param {Segment[]} segments with RLE or polygons
 */
export function toCoco(picture, things, segments) {
  const found = segments.filter((segment) => segment.bbox);
  const nameOf = (/** @type {Segment} */ segment) => things[segment.value - 1]?.name ?? `Object ${segment.value}`;
  const names = [...new Set(found.map(nameOf))];
  return {
    info: { description: 'Made with Maskery' },
    images: [{ id: 1, file_name: picture.name, width: picture.width, height: picture.height }],
    categories: names.map((name, place) => ({ id: place + 1, name })),
    annotations: found.map((segment, place) => ({
      id: place + 1,
      image_id: 1,
      category_id: names.indexOf(nameOf(segment)) + 1,
      segmentation: segment.rle ?? (segment.polygons ?? []).map(flat),
      area: segment.area,
      bbox: segment.bbox,
      iscrowd: 0,
      score: segment.score,
    })),
  };
}

/**
 * One ring for an outside and its holes, which COCO's polygons cannot have: every hole hangs on the outside by a line
 * that is walked there and back, and so encloses nothing.
 *
 * @param {Ring[]} rings the outside first
 * @returns {number[]} x, y, x, y …
 */
export function flat(rings) {
  const [outside = [], ...holes] = rings;
  /** @type {Map<number, Ring[]>} by the corner of the outside that they hang on */
  const hanging = new Map();
  for (const hole of holes) {
    const start = hole[0];
    if (!start) continue;
    const corner = nearest(outside, start);
    hanging.set(corner, [...(hanging.get(corner) ?? []), [...hole, start]]);
  }
  return outside.flatMap((corner, place) => {
    const detours = hanging.get(place) ?? [];
    return [corner, ...detours.flatMap((detour) => [...detour, corner])].flat();
  });
}

/**
 * @param {Ring} ring
 * @param {[number, number]} place
 */
function nearest(ring, [x, y]) {
  let [best, least] = [0, Infinity];
  ring.forEach((corner, index) => {
    const distance = (corner[0] - x) ** 2 + (corner[1] - y) ** 2;
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}
