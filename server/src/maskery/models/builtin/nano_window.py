"""What `maskery/nano` sees at once: an image or a window of it, stretched to one of few shapes.

Windows are in pixels of the upright image; grids of answers have half the shape's rows and columns.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_prompt import PLANES, prompt_planes
from maskery.segmentation import ObjectPrompt, Size

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Around an answer, in roots of its box's area.
_MARGIN = 0.3

# A window is at most so many times as long as wide.
_LONGEST = 2.0


class Shape(NamedTuple):
    """Rows and columns of the image as the network sees it, whole multiples of 16."""

    rows: int
    columns: int


# Few shapes, so that few are compiled; an image is stretched to the nearest in proportion.
_SHAPES = (Shape(176, 272), Shape(208, 240), Shape(240, 208), Shape(272, 176))

#: Width over height of each.
PROPORTIONS = tuple(shape.columns / shape.rows for shape in _SHAPES)


class Window(NamedTuple):
    """Pixels x0 ≤ x < x1, y0 ≤ y < y1 of the image, fractions allowed."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def shape(self) -> Shape:
        """The shape whose proportions are nearest."""
        proportion = np.log(self.height / self.width)
        return min(_SHAPES, key=lambda shape: abs(np.log(shape.rows / shape.columns) - proportion))

    @classmethod
    def whole(cls, size: Size) -> "Window":
        return cls(0, 0, size.width, size.height)


def resized(pixels: Bytes, rows: int, columns: int) -> Bytes:
    """Averages where it shrinks, straight lines between pixels where it grows."""
    grows = rows * columns > pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return cv2.resize(pixels, (columns, rows), interpolation=how).astype(np.uint8, copy=False)


def stretched(logits: Floats, rows: int, columns: int) -> Floats:
    """Logits on a finer grid, float32 [rows, columns]."""
    return cv2.resize(logits, (columns, rows), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def cells(points: Floats, size: Size, rows: int, columns: int) -> NDArray[np.intp]:
    """Where points of an image lie on a grid over it, [points, 2], column and row."""
    scale = np.array((columns / size.width, rows / size.height))
    found: NDArray[np.intp] = (points * scale).astype(np.intp).clip(0, (columns - 1, rows - 1))
    return found


def cut(pixels: Bytes, window: Window, size: Size) -> tuple[Bytes, Window]:
    """A window's pixels from a copy of the image of any size; the window grows to whole pixels of the copy."""
    across, down = pixels.shape[1] / size.width, pixels.shape[0] / size.height
    x0, y0 = int(window.x0 * across), int(window.y0 * down)
    x1, y1 = (max(start + 1, int(np.ceil(end))) for start, end in ((x0, window.x1 * across), (y0, window.y1 * down)))
    part = pixels[y0:y1, x0:x1]
    return part, Window(x0 / across, y0 / down, (x0 + part.shape[1]) / across, (y0 + part.shape[0]) / down)


def planes(asked: ObjectPrompt, colours: Floats, window: Window, single: bool) -> Floats:
    """The prompt as the network reads it, float32 [1, 8, rows, columns].

    Args:
        asked: points off the window are left out.
        colours: of the window, float32 [rows, columns, 3], see `lab_colours`.
        window: that is seen.
        single: a single point shall have three readings.
    """
    rows, columns = colours.shape[:2]
    corner = np.array((window.x0, window.y0), np.float32)
    scale = np.array((columns / window.width, rows / window.height), np.float32)
    points = (np.floor(asked.points) + 0.5 - corner) * scale
    seen = ((points >= 0) & (points <= (columns, rows))).all(axis=1)
    box = None if asked.box is None else ((asked.box.reshape(2, 2) - corner) * scale).reshape(4)
    found = prompt_planes(colours, points[seen].astype(np.float32, copy=False), asked.labels[seen], box, single)
    assert found.shape == (PLANES, rows, columns)  # noqa: S101 - the graph's own number
    return found[None]


def window_around(logits: Floats, asked: ObjectPrompt, size: Size) -> Window | None:
    """A window about an answer and what was asked, with a margin; None where the answer is empty.

    Args:
        logits: float32 [rows, columns], of the whole image.
    """
    inside = logits > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return None
    across, down = size.width / logits.shape[1], size.height / logits.shape[0]
    cells = np.array(((columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)))
    corners = [cells * (across, down), asked.points[asked.labels == 1]]
    if asked.box is not None:
        corners.append(asked.box.reshape(2, 2))
    found = np.concatenate(corners)
    (x0, y0), (x1, y1) = found.min(axis=0).tolist(), found.max(axis=0).tolist()
    margin = 2 * _MARGIN * float((x1 - x0) * (y1 - y0)) ** 0.5
    width, height = x1 - x0 + margin, y1 - y0 + margin
    width, height = max(width, height / _LONGEST), max(height, width / _LONGEST)
    x, y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    return Window(max(0.0, x), max(0.0, y), min(size.width, x + width), min(size.height, y + height))


def sample_window(logits: Floats, window: Window, size: Size, rows: int, columns: int) -> Floats:
    """Logits of the whole image on a grid over a window, float32 [rows, columns]."""
    across, down = logits.shape[1] / size.width, logits.shape[0] / size.height
    return _moved(
        logits,
        (window.width * across / columns, window.height * down / rows),
        (window.x0 * across, window.y0 * down),
        rows,
        columns,
    )


def paste_window(whole: Floats, logits: Floats, window: Window, size: Size, limit: Size) -> Floats:
    """An answer for a window put into one for the whole image, on as fine a grid as the window's.

    Args:
        whole, logits: float32 [rows, columns] each.
        limit: of the grid.
    """
    columns = min(limit.width, max(whole.shape[1], round(logits.shape[1] * size.width / window.width)))
    rows = min(limit.height, max(whole.shape[0], round(logits.shape[0] * size.height / window.height)))
    across, down = columns / size.width, rows / size.height
    x0, y0, x1, y1 = (
        round(edge) for edge in (window.x0 * across, window.y0 * down, window.x1 * across, window.y1 * down)
    )
    out = stretched(whole, rows, columns)
    step = logits.shape[1] / window.width / across, logits.shape[0] / window.height / down
    start = (x0 - window.x0 * across) * step[0], (y0 - window.y0 * down) * step[1]
    out[y0:y1, x0:x1] = _moved(logits, step, start, y1 - y0, x1 - x0)
    return out


def _moved(logits: Floats, step: tuple[float, float], start: tuple[float, float], rows: int, columns: int) -> Floats:
    """Cells of another grid, whose first begins at `start` and which are `step` apart, (x, y) in cells of this one."""
    # Middles of cells are at halves on both grids.
    matrix = np.array(
        [[step[0], 0, start[0] + step[0] / 2 - 0.5], [0, step[1], start[1] + step[1] / 2 - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(logits, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(np.float32, copy=False)
