"""Removes small islands and holes from the masks of `maskery/nano`."""

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_window import Floats, cells
from maskery.segmentation import ObjectPrompt, Size

Numbers = NDArray[np.int32]

# Smallest share of the largest island that an island has, and of the mask that a hole has.
_ISLAND, _HOLE = 0.1, 0.03

# Logit of changed regions, positive for filled holes: close to undecided.
_UNSURE = 0.5


def remove_small_regions(logits: Floats, prompt: ObjectPrompt, size: Size) -> Floats:
    """Remove small islands and fill small holes.

    Args:
        logits: float32 [rows, columns] of the whole image; not modified.
        prompt: an island with a point on the object stays, and so does a hole with a point off it.
        size: of the image.
    """
    rows, columns = logits.shape
    points = cells(prompt.points, size, rows, columns)
    islands, areas, _ = _regions(logits > 0)
    small = areas < _ISLAND * areas.max(initial=0)
    small[_at(islands, points[prompt.labels == 1])] = False
    changed = _replace(logits, islands, small, -_UNSURE)
    # After removing islands, because a hole may contain an island, and an island a hole.
    holes, areas, at_border = _regions(changed <= 0)
    closed = (areas < _HOLE * (changed > 0).sum()) & ~at_border
    closed[_at(holes, points[prompt.labels == 0])] = False
    return _replace(changed, holes, closed, _UNSURE)


def _replace(logits: Floats, numbers: Numbers, chosen: NDArray[np.bool_], logit: float) -> Floats:
    """Replace the logits of the chosen regions. Number 0 is not a region."""
    chosen[0] = False
    return np.where(chosen[numbers], np.float32(logit), logits) if chosen.any() else logits


def _regions(mask: NDArray[np.bool_]) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """The 4-connected regions: their numbers [rows, columns], 0 outside; their areas; which touch the border.

    Cells that meet at a corner only are not connected: on a finer grid they would be separate.
    """
    rows, columns = mask.shape
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    left, top, width, height, area = stats.T.astype(np.int32)
    area[0] = 0
    touches = (left == 0) | (top == 0) | (left + width == columns) | (top + height == rows)
    return numbers.astype(np.int32, copy=False), area, touches


def _at(numbers: Numbers, points: NDArray[np.intp]) -> Numbers:
    return numbers[points[:, 1], points[:, 0]]
