"""Outlines of segments, for tools whose polygons have no holes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.segmentation import Segment

#: Parts of a segment with a smaller share of its area have no outline: a polygon for every speck is work to delete.
SMALLEST_PART = 0.01

# Corners that are further than this from the outline, in pixels, are kept; it removes the steps of slanted edges.
_STEPS = 1.0


def outlines(segment: Segment, tolerance: float = 0.0) -> list[NDArray[np.float32]]:
    """The outer outlines of a segment's parts, the largest part first. Holes are filled.

    Args:
        tolerance: share of an outline's length by which the polygon may differ from it; at least a pixel.

    Returns:
        float32 [corners, 2] for each part, (x, y) in pixels; the last corner is not the first one again.
    """
    rings = [np.array(rings[0], np.float32) for rings in segment.polygons()]
    parts = sorted(((cv2.contourArea(ring), ring) for ring in rings), key=lambda part: -part[0])
    smallest = SMALLEST_PART * segment.area
    return [_simplify(ring, tolerance) for area, ring in parts if area >= smallest]


def _simplify(ring: NDArray[np.float32], tolerance: float) -> NDArray[np.float32]:
    simple = cv2.approxPolyDP(ring, max(_STEPS, tolerance * cv2.arcLength(ring, True)), True)[:, 0]
    # Of parts that are smaller than the tolerance, less than a triangle may be left.
    return simple.astype(np.float32) if len(simple) >= 3 else ring
