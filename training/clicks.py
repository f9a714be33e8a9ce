"""A simulated person: where they click first, what they correct, how they draw boxes.

Corrections follow Sofiiuk et al., Reviving Iterative Training with Mask Guidance, 2021: the middle of what is most
wrong. Masks are uint8 [rows, columns], 0 or 1; clicks are (x, y, label) with whole-numbered x and y.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Click = tuple[int, int, int]


@dataclass
class Prompt:
    """What has been asked so far.

    Attributes:
        clicks: in order.
        box: (x0, y0, x1, y1) in pixels, or None.
        drawn: a mask to start from was given.
    """

    clicks: list[Click] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None
    drawn: bool = False

    @property
    def ambiguous(self) -> bool:
        return len(self.clicks) == 1 and self.box is None and not self.drawn


def first_click(mask: Bytes, random: np.random.Generator) -> Click:
    """On the object: often near its middle, now and then anywhere but at its edge."""
    depth = _depth(mask)
    kind = random.random()
    if kind < 0.25:
        chosen = depth >= depth.max() * 0.99
    elif kind < 0.7:
        chosen = depth >= depth.max() * 0.6
    else:
        chosen = depth >= min(1.5, float(depth.max()))
    return (*_any(chosen, random), 1)


def correction(mask: Bytes, answer: Bytes, random: np.random.Generator) -> Click | None:
    """In the deeper kind of error; None where hardly anything is wrong."""
    depths = _depth((mask > answer).astype(np.uint8)), _depth((answer > mask).astype(np.uint8))
    on_object = depths[0].max() >= depths[1].max()
    depth = depths[0] if on_object else depths[1]
    if depth.max() < 1:
        return None
    least = 0.99 if random.random() < 0.6 else 0.4
    return (*_any(depth >= depth.max() * least, random), int(on_object))


def anywhere_off(mask: Bytes, random: np.random.Generator) -> Click | None:
    """Off the object, more often near it."""
    band = cv2.dilate(mask, np.ones((9, 9), np.uint8)) > cv2.dilate(mask, np.ones((3, 3), np.uint8))
    off = band if band.any() and random.random() < 0.6 else mask == 0
    return (*_any(off, random), 0) if off.any() else None


def loose_box(mask: Bytes, random: np.random.Generator) -> tuple[float, float, float, float]:
    """Around the object, each side off by a few percent."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    slack = random.normal(0, 0.05, 4) * (x1 - x0, y1 - y0, x1 - x0, y1 - y0)
    height, width = mask.shape
    left, top = max(0.0, x0 + slack[0]), max(0.0, y0 + slack[1])
    right, bottom = min(float(width), x1 + slack[2]), min(float(height), y1 + slack[3])
    return left, top, max(right, left + 1), max(bottom, top + 1)


def careless_mask(mask: Bytes, random: np.random.Generator) -> Bytes:
    """The object as somebody might have drawn it: too large, too small, moved, a piece missing."""
    side = len(mask)
    size = int(random.integers(1, max(2, side // 16))) * 2 + 1
    kernel = np.ones((size, size), np.uint8)
    drawn = cv2.dilate(mask, kernel) if random.random() < 0.5 else cv2.erode(mask, kernel)
    drawn = np.roll(drawn, tuple(random.integers(-side // 24, side // 24 + 1, 2)), (0, 1))
    if random.random() < 0.4:
        x, y, _ = first_click(mask, random)
        drawn = drawn.copy()
        cv2.circle(drawn, (x, y), int(random.integers(2, max(3, side // 6))), int(random.integers(2)), -1)
    return (drawn if drawn.any() else mask).astype(np.uint8, copy=False)


def _depth(region: Bytes) -> NDArray[np.float32]:
    padded = cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1].astype(np.float32, copy=False)


def _any(region: NDArray[np.bool_], random: np.random.Generator) -> tuple[int, int]:
    places = np.flatnonzero(region)
    y, x = divmod(int(places[random.integers(len(places))]), region.shape[1])
    return x, y
