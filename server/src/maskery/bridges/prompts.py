"""Prompts as tools send them: points and boxes that do not say which belong together."""

from collections.abc import Sequence
from typing import Any

from maskery.engine import Prompt


def to_prompt(points: Sequence[Any], labels: Sequence[Any], boxes: Sequence[Any] = ()) -> Prompt:
    """One object per box, or one object if there are no boxes; the points belong to each of them.

    Args:
        points: [x, y] in pixels of the upright image.
        labels: per point, 1 (on the object) or 0 (not on it).
        boxes: two opposite corners each, [x, y, x, y], in any order.
    """
    count = max(1, len(boxes))
    corners = [_in_order(box) for box in boxes]
    return Prompt([list(points)] * count, [list(labels)] * count, corners or None)


def _in_order(box: Any) -> Any:
    """The box as [left, top, right, bottom]; tools send its corners in the order in which they were drawn."""
    if len(box) != 4:
        return list(box)
    x0, y0, x1, y1 = box
    return [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
