"""Windows of an image for `maskery/nano`, resized to one of few shapes.

Windows are in pixels of the upright image. The network's output has half the shape's rows and columns.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_prompt import prompt_planes
from maskery.segmentation import ObjectPrompt, Size

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Margin around a mask, in square roots of the area of its bounding box.
_MARGIN = 0.3

# Largest aspect ratio of a window.
_LONGEST = 2.0


class Shape(NamedTuple):
    """Rows and columns of the network's input, multiples of 16."""

    rows: int
    columns: int


# Few shapes, so that few are compiled. An image is resized to the one of nearest aspect ratio.
_SHAPES = (Shape(176, 272), Shape(208, 240), Shape(240, 208), Shape(272, 176))

#: Width / height of each.
ASPECT_RATIOS = tuple(shape.columns / shape.rows for shape in _SHAPES)


class Window(NamedTuple):
    """Pixels x0 ≤ x < x1, y0 ≤ y < y1 of the image; fractions are possible."""

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
        """The shape of nearest aspect ratio."""
        ratio = np.log(self.height / self.width)
        return min(_SHAPES, key=lambda shape: abs(np.log(shape.rows / shape.columns) - ratio))

    @classmethod
    def whole(cls, size: Size) -> "Window":
        return cls(0, 0, size.width, size.height)


def resize(pixels: Bytes, rows: int, columns: int) -> Bytes:
    """Resize an image: by area averaging if it shrinks, bilinearly if it grows."""
    grows = rows * columns > pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return cv2.resize(pixels, (columns, rows), interpolation=how).astype(np.uint8, copy=False)


def resize_logits(logits: Floats, rows: int, columns: int) -> Floats:
    """Upsample logits to float32 [rows, columns]."""
    return cv2.resize(logits, (columns, rows), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def cells(points: Floats, size: Size, rows: int, columns: int) -> NDArray[np.intp]:
    """The grid cells (column, row) of points of an image, [points, 2]."""
    scale = np.array((columns / size.width, rows / size.height))
    indices: NDArray[np.intp] = (points * scale).astype(np.intp).clip(0, (columns - 1, rows - 1))
    return indices


def crop(pixels: Bytes, window: Window, size: Size) -> tuple[Bytes, Window]:
    """Crop a window from a copy of the image of any size. The window grows to whole pixels of the copy."""
    across, down = pixels.shape[1] / size.width, pixels.shape[0] / size.height
    x0, y0 = int(window.x0 * across), int(window.y0 * down)
    x1, y1 = (max(start + 1, int(np.ceil(end))) for start, end in ((x0, window.x1 * across), (y0, window.y1 * down)))
    part = pixels[y0:y1, x0:x1]
    return part, Window(x0 / across, y0 / down, (x0 + part.shape[1]) / across, (y0 + part.shape[0]) / down)


def encode_prompt(prompt: ObjectPrompt, colours: Floats, window: Window, several: bool) -> Floats:
    """Encode a prompt for a window as planes float32 [1, 8, rows, columns], see `prompt_planes`.

    Args:
        prompt: points outside the window are left out.
        colours: of the window, float32 [rows, columns, 3], see `lab_colours`.
        window: in pixels of the image.
        several: ask for three candidates of a single point.
    """
    rows, columns = colours.shape[:2]
    corner = np.array((window.x0, window.y0), np.float32)
    scale = np.array((columns / window.width, rows / window.height), np.float32)
    points = (np.floor(prompt.points) + 0.5 - corner) * scale
    seen = ((points >= 0) & (points <= (columns, rows))).all(axis=1)
    box = None if prompt.box is None else ((prompt.box.reshape(2, 2) - corner) * scale).reshape(4)
    labels = prompt.labels[seen]
    return prompt_planes(colours, points[seen].astype(np.float32, copy=False), labels, box, several)[None]


def window_around(logits: Floats, prompt: ObjectPrompt, size: Size) -> Window | None:
    """The window around a mask and its prompt, with a margin; None if the mask is empty.

    Args:
        logits: float32 [rows, columns], of the whole image.
    """
    inside = logits > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return None
    across, down = size.width / logits.shape[1], size.height / logits.shape[0]
    cells = np.array(((columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)))
    corners = [cells * (across, down), prompt.points[prompt.labels == 1]]
    if prompt.box is not None:
        corners.append(prompt.box.reshape(2, 2))
    points = np.concatenate(corners)
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    margin = 2 * _MARGIN * float((x1 - x0) * (y1 - y0)) ** 0.5
    width, height = x1 - x0 + margin, y1 - y0 + margin
    width, height = max(width, height / _LONGEST), max(height, width / _LONGEST)
    x, y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    return Window(max(0.0, x), max(0.0, y), min(size.width, x + width), min(size.height, y + height))


def sample_window(logits: Floats, window: Window, size: Size, rows: int, columns: int) -> Floats:
    """Sample logits of the whole image on a grid over a window, float32 [rows, columns]."""
    across, down = logits.shape[1] / size.width, logits.shape[0] / size.height
    return _resample(
        logits,
        (window.width * across / columns, window.height * down / rows),
        (window.x0 * across, window.y0 * down),
        rows,
        columns,
    )


def paste_window(whole: Floats, logits: Floats, window: Window, size: Size, limit: Size) -> Floats:
    """Paste logits of a window into logits of the whole image, on a grid as fine as the window's.

    Args:
        whole, logits: float32 [rows, columns] each.
        limit: size of the finest grid.
    """
    columns = min(limit.width, max(whole.shape[1], round(logits.shape[1] * size.width / window.width)))
    rows = min(limit.height, max(whole.shape[0], round(logits.shape[0] * size.height / window.height)))
    across, down = columns / size.width, rows / size.height
    x0, y0, x1, y1 = (
        round(edge) for edge in (window.x0 * across, window.y0 * down, window.x1 * across, window.y1 * down)
    )
    out = resize_logits(whole, rows, columns)
    step = logits.shape[1] / window.width / across, logits.shape[0] / window.height / down
    start = (x0 - window.x0 * across) * step[0], (y0 - window.y0 * down) * step[1]
    out[y0:y1, x0:x1] = _resample(logits, step, start, y1 - y0, x1 - x0)
    return out


def _resample(logits: Floats, step: tuple[float, float], start: tuple[float, float], rows: int, columns: int) -> Floats:
    """Sample another grid, whose first cell begins at `start` and whose cells have the size `step`, (x, y) in cells."""
    # Cell centres are at half-integers on both grids.
    matrix = np.array(
        [[step[0], 0, start[0] + step[0] / 2 - 0.5], [0, step[1], start[1] + step[1] / 2 - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    resampled = cv2.warpAffine(logits, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return resampled.astype(np.float32, copy=False)
