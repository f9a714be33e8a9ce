"""Windows of an image for `maskery/nano`, resized to one of few shapes, and masks so far.

Windows and points are in pixels of the image's copy, see `copy_of`. The grid of a mask so far is that of the copy.
"""

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Logits lie between this and its negative.
LARGEST_LOGIT = 8.0

# Longer side of the copy.
_KEPT_SIDE = 768

# Margin around a mask, in square roots of the area of its bounding box, and the largest aspect ratio of a window.
_MARGIN, _LONGEST = 0.3, 1.6

# Smallest side of a window.
_SMALLEST = 72.0

# A window with a larger share of the image is the whole image, which shows hardly less detail.
_LARGEST_WINDOW = 0.9

# Side of a window around a point, in square roots of the area of the object's window.
_LOCAL = 0.45

# Level of a pixel that was answered otherwise than it was clicked: a logit of 0.5.
_UNSURE = 32


class Shape(NamedTuple):
    """Rows and columns of the network's input, multiples of 32."""

    rows: int
    columns: int


_SHAPES = (Shape(192, 320), Shape(224, 288), Shape(256, 256), Shape(288, 224), Shape(320, 192))

# Of windows with few pixels, and of those around a point.
_SMALL_SHAPES = (Shape(128, 192), Shape(160, 160), Shape(192, 128))
_FEW_PIXELS = 192 * 192
_LOCAL_SHAPE = Shape(160, 160)


class Window(NamedTuple):
    """A rectangle of the copy; the network sees the whole pixels that it touches.

    Attributes:
        local: it surrounds the newest point, not the object.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    local: bool = False

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of its pixels in an array [rows, columns]."""
        return slice(int(self.y0), math.ceil(self.y1)), slice(int(self.x0), math.ceil(self.x1))

    @property
    def shape(self) -> Shape:
        """The shape in which the network sees it: the one of nearest aspect ratio."""
        if self.local:
            return _LOCAL_SHAPE
        down, across = self.slices
        rows, columns = down.stop - down.start, across.stop - across.start
        shapes = _SMALL_SHAPES if rows * columns <= _FEW_PIXELS else _SHAPES
        return min(shapes, key=lambda shape: abs(math.log(shape.rows / shape.columns) - math.log(rows / columns)))

    @classmethod
    def whole(cls, rows: int, columns: int) -> "Window":
        return cls(0.0, 0.0, float(columns), float(rows))


def copy_of(pixels: Bytes) -> Bytes:
    """A copy of an image with at most 768 pixels a side."""
    rows, columns = pixels.shape[:2]
    shrink = _KEPT_SIDE / max(rows, columns)
    if shrink >= 1:
        return pixels.copy()
    return resize(pixels, max(1, round(rows * shrink)), max(1, round(columns * shrink)))


def resize(pixels: Bytes, rows: int, columns: int) -> Bytes:
    """Resize an image: by area averaging if it shrinks, bilinearly if it grows."""
    return _resize(pixels, rows, columns).astype(np.uint8, copy=False)


def around_object(logits: Floats, points: Floats, box: Floats | None) -> Window:
    """The window around a mask and its prompt; the whole image if that is most of it, or if the mask is empty.

    Args:
        logits: float32 [rows, columns], the mask so far.
        points: float32 [points, 2], those on the object.
        box: float32 [4], or None.
    """
    rows, columns = logits.shape
    inside = logits > 0
    down, across = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(down):
        return Window.whole(rows, columns)
    corners = [np.array(((across[0], down[0]), (across[-1] + 1, down[-1] + 1))), points]
    if box is not None:
        corners.append(box.reshape(2, 2))
    both = np.concatenate(corners)
    (x0, y0), (x1, y1) = both.min(axis=0).tolist(), both.max(axis=0).tolist()
    margin = 2 * _MARGIN * max(1.0, (x1 - x0) * (y1 - y0)) ** 0.5
    width, height = x1 - x0 + margin, y1 - y0 + margin
    width, height = max(width, height / _LONGEST, _SMALLEST), max(height, width / _LONGEST, _SMALLEST)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    window = Window(
        max(0.0, x - width / 2), max(0.0, y - height / 2), min(columns, x + width / 2), min(rows, y + height / 2)
    )
    return window if window.area <= _LARGEST_WINDOW * rows * columns else Window.whole(rows, columns)


def around_point(point: Floats, window: Window, rows: int, columns: int) -> Window:
    """The window around the newest point, within an image of these rows and columns.

    Args:
        point: float32 [2].
        window: around the object.
    """
    side = max(_LOCAL * window.area**0.5, _SMALLEST)
    width, height = min(side, columns), min(side, rows)
    left = min(max(0.0, float(point[0]) - width / 2), columns - width)
    top = min(max(0.0, float(point[1]) - height / 2), rows - height)
    return Window(left, top, left + width, top + height, local=True)


def previous_mask(logits: Floats, window: Window) -> Floats:
    """The mask so far as the network reads it in a window: float32 at half the shape's size, -1 to 1."""
    shape = window.shape
    return np.tanh(_resize(logits[window.slices], shape.rows // 2, shape.columns // 2) / 2)


def paste(logits: Floats, found: Floats, window: Window) -> Floats:
    """The mask so far, float32 [rows, columns], with what was found in a window, of any size."""
    down, across = window.slices
    size = (across.stop - across.start, down.stop - down.start)
    changed = logits.copy()
    resized = cv2.resize(found, size, interpolation=cv2.INTER_LINEAR)
    np.clip(resized, -LARGEST_LOGIT, LARGEST_LOGIT, out=changed[down, across])
    return changed


def cells(points: Floats, rows: int, columns: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of points."""
    indices = points.astype(np.intp).clip(0, (columns - 1, rows - 1))
    return indices[:, 1], indices[:, 0]


def as_clicked(levels: NDArray[np.int8], points: Floats, labels: Bytes) -> NDArray[np.int8]:
    """A mask, in levels (see `nano_fold`), in which every clicked pixel is what it was clicked as.

    Of several points on one pixel the newest counts.
    """
    changed = levels.copy()
    for row, column, label in zip(*cells(points, *levels.shape), labels.tolist(), strict=True):
        if (changed[row, column] > 0) != (label == 1):
            changed[row, column] = _UNSURE if label == 1 else -_UNSURE
    return changed


def _resize(values: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    grows = rows * columns > values.shape[0] * values.shape[1]
    return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA)
