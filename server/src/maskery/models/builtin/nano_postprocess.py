"""What an answer of `maskery/nano` has too much or too little of in small: islands and holes that nobody asked for."""

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_window import Floats, cells
from maskery.segmentation import ObjectPrompt, Size

Numbers = NDArray[np.int32]

# Of the largest island, of all that is inside: what is smaller goes, unless it was clicked.
_ISLAND, _HOLE = 0.1, 0.03

# Logit of what was changed: on the other side, and not sure.
_UNSURE = 0.5


def remove_small_regions(logits: Floats, asked: ObjectPrompt, size: Size) -> Floats:
    """Logits without small islands and holes.

    Args:
        logits: float32 [rows, columns] of the whole image; left as they are.
        asked: an island with a click on the object stays, a hole with one off it too.
        size: of the image.
    """
    rows, columns = logits.shape
    clicked = cells(asked.points, size, rows, columns)
    islands, areas, _ = _regions(logits > 0)
    small = areas < _ISLAND * areas.max(initial=0)
    small[_at(islands, clicked[asked.labels == 1])] = False
    found = _changed(logits, islands, small, -_UNSURE)
    # Only now, as a hole may have had an island in it, and an island a hole.
    holes, gaps, open_ = _regions(found <= 0)
    closed = (gaps < _HOLE * (found > 0).sum()) & ~open_
    closed[_at(holes, clicked[asked.labels == 0])] = False
    return _changed(found, holes, closed, _UNSURE)


def _changed(logits: Floats, numbers: Numbers, chosen: NDArray[np.bool_], logit: float) -> Floats:
    """Another logit in the chosen regions. Region 0 is what is no region."""
    chosen[0] = False
    return np.where(chosen[numbers], np.float32(logit), logits) if chosen.any() else logits


def _regions(shown: NDArray[np.bool_]) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """Numbers of connected regions [rows, columns], 0 where there is none; their areas; which touch the border.

    What meets at corners alone is not connected: on a finer grid it would come apart.
    """
    rows, columns = shown.shape
    _, numbers, found, _ = cv2.connectedComponentsWithStats(shown.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    left, top, width, height, area = found.T.astype(np.int32)
    area[0] = 0
    touches = (left == 0) | (top == 0) | (left + width == columns) | (top + height == rows)
    return numbers.astype(np.int32, copy=False), area, touches


def _at(numbers: Numbers, clicked: NDArray[np.intp]) -> Numbers:
    return numbers[clicked[:, 1], clicked[:, 0]]
