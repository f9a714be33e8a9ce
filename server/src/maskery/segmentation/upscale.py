"""Upsamples logits to the size of the mask, region by region."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.image import Size

# Pixels upsampled at a time. Arrays of this size are reused by the allocator and fit a core's cache; arrays of four
# times the size are mapped anew each time, and their page faults cost more than the arithmetic.
_BAND_PIXELS = 2**16


class Region(NamedTuple):
    """Pixels x0 ≤ x < x1, y0 ≤ y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def is_empty(self) -> bool:
        return self.x0 >= self.x1 or self.y0 >= self.y1

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the region in an array [height, width]."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def within(self, outer: "Region") -> "Region":
        """The region in coordinates of another, from its top left pixel."""
        return Region(self.x0 - outer.x0, self.y0 - outer.y0, self.x1 - outer.x0, self.y1 - outer.y0)

    def bands(self) -> Iterator["Region"]:
        """Split the region into bands of whole rows that fit a core's cache, from top to bottom."""
        rows = max(1, _BAND_PIXELS // max(1, self.x1 - self.x0))
        for y0 in range(self.y0, self.y1, rows):
            yield Region(self.x0, y0, self.x1, min(y0 + rows, self.y1))

    def intersection(self, other: "Region") -> "Region":
        return Region(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))

    def hull(self, other: "Region") -> "Region":
        """The smallest region that contains both."""
        if self.is_empty or other.is_empty:
            return self if other.is_empty else other
        return Region(min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1))


#: The empty region.
NOWHERE = Region(0, 0, 0, 0)


def decoded(logits: NDArray[np.float32] | NDArray[np.int8], table: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Logits in float32, of the same shape; see `Candidates`."""
    return logits.astype(np.float32, copy=False) if table is None else table.take(logits.view(np.uint8))


class UpscaledLogits:
    """One object's logits, upsampled to the size of a mask.

    Bilinear, with pixel centres at half-integers on both grids, as `torch.nn.functional.interpolate` with
    ``align_corners=False``. Regions are computed on request, from the part of the grid that they need.

    Args:
        logits: float32 [rows, columns], or int8 with a `table`.
        extent: (columns, rows) of the grid that the image covers.
        size: of the mask.
        table: see `Candidates`.
    """

    def __init__(
        self,
        logits: NDArray[np.float32] | NDArray[np.int8],
        extent: tuple[float, float],
        size: Size,
        table: NDArray[np.float32] | None = None,
    ) -> None:
        self._logits = logits
        self._table = table
        self._step_x = extent[0] / size.width
        self._step_y = extent[1] / size.height
        #: The region outside which no logit is above zero.
        self.support = self._find_support(size)

    def region(self, region: Region) -> NDArray[np.float32]:
        """Logits float32 [rows, columns] of a non-empty region."""
        # Rows are interpolated here, at the grid's own small width; columns by OpenCV, which is fast but cannot start
        # at a fraction of a column, so it starts at the left edge.
        y = (np.arange(region.y0, region.y1) + 0.5) * self._step_y - 0.5
        above = np.floor(y).astype(np.intp)
        weight = (y - above).astype(np.float32)[:, None]
        last = int((region.x1 + 1) * self._step_x + 2)
        first = max(0, int(above[0]))
        grid = decoded(self._logits[first : int(above[-1]) + 2, :last], self._table)
        bottom = len(grid) - 1
        upper, lower = grid[(above - first).clip(0, bottom)], grid[(above - first + 1).clip(0, bottom)]
        band = upper + (lower - upper) * weight
        upsampled: NDArray[np.float32] = cv2.resize(
            band, None, fx=1 / self._step_x, fy=1, interpolation=cv2.INTER_LINEAR
        )
        return upsampled[:, region.x0 : region.x1]

    def mask(self, region: Region) -> NDArray[np.bool_]:
        """Where logits are above zero, bool [rows, columns], in a non-empty region."""
        mask = np.empty((region.y1 - region.y0, region.x1 - region.x0), np.bool_)
        for band in region.bands():
            np.greater(self.region(band), 0, out=mask[band.within(region).slices])
        return mask

    def _find_support(self, size: Size) -> Region:
        x, y, columns, rows = cv2.boundingRect((self._logits > 0).view(np.uint8))
        if not rows:
            return NOWHERE
        x0, x1 = _reach(x, x + columns - 1, self._step_x, size.width)
        y0, y1 = _reach(y, y + rows - 1, self._step_y, size.height)
        return Region(x0, y0, x1, y1)


def _reach(first: int, last: int, step: float, length: int) -> tuple[int, int]:
    """The range of pixels whose interpolation uses any of the grid cells `first` to `last`."""
    start = int((first - 0.5) / step - 0.5)
    stop = int((last + 1.5) / step - 0.5) + 2
    return max(0, start), min(length, stop)
