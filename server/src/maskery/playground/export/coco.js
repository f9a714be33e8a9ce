/** Exports COCO JSON: one image, a category per name, an annotation per object. */

/** @typedef {import('../api/client.js').Segment} Segment */
/** @typedef {import('../image/image.js').SourceImage} SourceImage */
/** @typedef {import('../state/prompt.js').ObjectPrompt} ObjectPrompt */
/** @typedef {[number, number][]} Ring */

/**
 * @param {Pick<SourceImage, 'name' | 'width' | 'height'>} image
 * @param {ObjectPrompt[]} objects in the order of the request
 * @param {Segment[]} segments with RLE or polygons
 */
export function toCoco(image, objects, segments) {
  const nonEmpty = segments.filter((segment) => segment.bbox);
  const nameOf = (/** @type {Segment} */ segment) => objects[segment.value - 1]?.name ?? `Object ${segment.value}`;
  const names = [...new Set(nonEmpty.map(nameOf))];
  return {
    info: { description: 'Made with Maskery' },
    images: [{ id: 1, file_name: image.name, width: image.width, height: image.height }],
    categories: names.map((name, index) => ({ id: index + 1, name })),
    annotations: nonEmpty.map((segment, index) => ({
      id: index + 1,
      image_id: 1,
      category_id: names.indexOf(nameOf(segment)) + 1,
      segmentation: segment.rle ?? (segment.polygons ?? []).map(joinRings),
      area: segment.area,
      bbox: segment.bbox,
      iscrowd: 0,
      score: segment.score,
    })),
  };
}

/**
 * Join the exterior ring and the holes of a polygon into one ring, because COCO polygons have no holes. Each hole is
 * connected to the nearest vertex of the exterior by a line that is traversed in both directions and encloses no area.
 *
 * @param {Ring[]} rings the exterior first
 * @returns {number[]} x, y, x, y …
 */
export function joinRings(rings) {
  const [exterior = [], ...holes] = rings;
  /** @type {Map<number, Ring[]>} by the index of the vertex that they are connected to */
  const connected = new Map();
  for (const hole of holes) {
    const start = hole[0];
    if (!start) continue;
    const vertex = nearestVertex(exterior, start);
    connected.set(vertex, [...(connected.get(vertex) ?? []), [...hole, start]]);
  }
  return exterior.flatMap((vertex, index) => {
    const detours = connected.get(index) ?? [];
    return [vertex, ...detours.flatMap((detour) => [...detour, vertex])].flat();
  });
}

/**
 * @param {Ring} ring
 * @param {[number, number]} point
 */
function nearestVertex(ring, [x, y]) {
  let [nearest, least] = [0, Infinity];
  ring.forEach((vertex, index) => {
    const distance = (vertex[0] - x) ** 2 + (vertex[1] - y) ** 2;
    if (distance < least) [nearest, least] = [index, distance];
  });
  return nearest;
}
