"""Simplifies polygons that were traced along the edges of pixels, by the algorithm of Douglas and Peucker (1973)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.polygons import Polygon

#: At most, in pixels: more than any object needs.
MAX_TOLERANCE = 100.0

# Corners lie at whole pixels, so a ring that still crosses another one at this tolerance stays exact.
_FINEST = 0.25

# Pairs of edges that are compared at a time, which bounds the temporary arrays.
_PAIRS = 2**20

Corners = NDArray[np.int32]


def simplify(polygons: Sequence[Polygon], tolerance: float) -> list[Polygon]:
    """Leave out corners, such that no corner of the exact rings is farther than the tolerance from the simplified ones.

    A ring that would cross itself or another ring is simplified less, down to the exact one, so that holes stay inside
    their polygon and parts stay apart.

    Args:
        polygons: of one mask, as of `polygons.trace`.
        tolerance: in pixels; 0 returns the polygons as they are.

    Returns:
        As many polygons with as many rings, whose corners are a subset of the exact ones.
    """
    if tolerance <= 0 or not polygons:
        return list(polygons)
    exact = [np.array(ring, np.int32) for polygon in polygons for ring in polygon]
    tolerances = [tolerance] * len(exact)
    rings = [_simplify(ring, tolerance) for ring in exact]
    # Exact rings may touch one another.
    while crossing := {index for index in _find_crossing(rings) if tolerances[index]}:
        for index in crossing:
            finer = tolerances[index] / 2
            tolerances[index] = finer if finer >= _FINEST else 0.0
            rings[index] = _simplify(exact[index], tolerances[index])
    simplified = iter(ring.tolist() for ring in rings)
    return [[next(simplified) for _ in polygon] for polygon in polygons]


def _simplify(ring: Corners, tolerance: float) -> Corners:
    """Split the ring at the corner that is farthest from its chord, until none is farther than the tolerance.

    All chords are split at a time, so that the number of steps is that of levels and not that of corners.
    """
    if not tolerance or len(ring) <= 4:
        return ring
    # The first chords are between two corners that are far from each other.
    first = _farthest(ring, _farthest(ring, 0))
    turned = np.roll(ring, -first, axis=0)
    points = np.concatenate([turned, turned[:1]]).astype(np.float64)
    kept = np.array([0, _farthest(points[:-1], 0), len(ring)])
    while True:
        chords = np.repeat(np.arange(len(kept) - 1), np.diff(kept))
        start, end = points[kept[chords]], points[kept[chords + 1]]
        distances = _distances(points[:-1], start, end)
        farthest = np.maximum.reduceat(distances, kept[:-1])
        corners = np.flatnonzero((distances == farthest[chords]) & (distances > tolerance))
        if not len(corners):
            break
        _, one_of_each = np.unique(chords[corners], return_index=True)
        kept = np.sort(np.concatenate([kept, corners[one_of_each]]))
    simplified = points[kept[:-1]].astype(np.int32)
    return simplified if len(simplified) > 2 else ring


def _farthest(points: NDArray[Any], index: int) -> int:
    """Index of the point that is farthest from another one."""
    return int(np.argmax(((points - points[index]) ** 2).sum(axis=1)))


def _distances(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distances of points from line segments, one for each."""
    along, to = end - start, points - start
    length = (along**2).sum(axis=1)
    share = np.clip((to * along).sum(axis=1) / np.maximum(length, 1e-12), 0, 1)
    away: NDArray[np.float64] = to - share[:, None] * along
    return np.hypot(away[:, 0], away[:, 1])


def _find_crossing(rings: Sequence[Corners]) -> set[int]:
    """Indices of the rings of which an edge crosses, touches or covers an edge of theirs or of another ring.

    Edges may share a corner: exact rings touch where two pixels do.
    """
    owners = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    starts = np.concatenate(rings).astype(np.int64)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).astype(np.int64)
    # A sweep from left to right: of the edges in the order of their left ends, only neighbours can meet.
    order = np.argsort(np.minimum(starts[:, 0], ends[:, 0]), kind="stable")
    owners, starts, ends = owners[order], starts[order], ends[order]
    crossing: set[int] = set()
    for first, second in _candidates(starts, ends):
        meet = _meet(starts[first], ends[first], starts[second], ends[second])
        crossing.update(owners[first[meet]].tolist(), owners[second[meet]].tolist())
    return crossing


def _candidates(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], ...]]:
    """Pairs of edges whose bounding boxes meet, in batches. The edges are in the order of their left ends."""
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    last = np.searchsorted(low[:, 0], high[:, 0], side="right")
    counts = last - np.arange(len(starts)) - 1
    totals = np.cumsum(counts)
    begin = 0
    while begin < len(starts):
        done = totals[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(totals, done + _PAIRS, side="right")))
        first = np.repeat(np.arange(begin, end), counts[begin:end])
        offsets = np.arange(len(first)) - np.repeat(totals[begin:end] - counts[begin:end] - done, counts[begin:end])
        second = first + 1 + offsets
        rows = (low[first, 1] <= high[second, 1]) & (low[second, 1] <= high[first, 1])
        yield first[rows], second[rows]
        begin = end


def _meet(a: NDArray[np.int64], b: NDArray[np.int64], c: NDArray[np.int64], d: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the edges a-b and c-d have a point in common that is not a corner of both."""
    abc, abd, cda, cdb = _side(a, b, c), _side(a, b, d), _side(c, d, a), _side(c, d, b)
    share = _same(a, c) | _same(a, d) | _same(b, c) | _same(b, d)
    crosses = (abc * abd <= 0) & (cda * cdb <= 0) & ~share
    # Edges on one line have an overlap, or share only a corner.
    on_line = (abc == 0) & (abd == 0)
    overlap = np.minimum(np.maximum(a, b), np.maximum(c, d)) - np.maximum(np.minimum(a, b), np.minimum(c, d))
    return np.where(on_line, overlap.max(axis=1) > 0, crosses)


def _side(a: NDArray[np.int64], b: NDArray[np.int64], point: NDArray[np.int64]) -> NDArray[np.int64]:
    """On which side of the line from a to b a point lies: -1, 0 or 1."""
    along, to = b - a, point - a
    sides: NDArray[np.int64] = np.sign(along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0])
    return sides


def _same(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (one == other).all(axis=1)
    return same
