"""The categorical mask: a value for every pixel, and the segments that the values refer to."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskery.segmentation import polygons, rle
from maskery.segmentation.image import Size
from maskery.segmentation.simplify import simplify
from maskery.segmentation.upscale import Region

Values = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Segment:
    """One value of the mask.

    Attributes:
        value: 1-based index in the prompt of the segment's first object.
        prompts: 0-based indices of all its objects; several where prompts had the same object, none where the object
            was found without a prompt.
        score: predicted IoU with the intended object, 0 to 1.
        area: pixels.
        region: bounding box of these pixels; empty if there are none.
        pixels: maps a region to bool [rows, columns], whether each of its pixels belongs to the segment. A function,
            because 500 masks of a large image would not fit in memory.
        label: name of the object as its prompt gave it; None if that has none.
    """

    value: int
    prompts: tuple[int, ...]
    score: float
    area: int
    region: Region
    pixels: Callable[[Region], NDArray[np.bool_]]
    label: str | None = None

    @property
    def bbox(self) -> tuple[int, int, int, int] | None:
        """(x, y, width, height) as COCO has it, or None without pixels."""
        x0, y0, x1, y1 = self.region
        return (x0, y0, x1 - x0, y1 - y0) if self.area else None

    def rle(self, size: Size) -> rle.Rle:
        """COCO RLE within a mask of this size."""
        return rle.encode(self.pixels(self.region), self.region[:2], size)

    def polygons(self, tolerance: float = 0.0) -> list[polygons.Polygon]:
        """Polygons along the pixels' edges, see `polygons.trace`; simplified by a tolerance in pixels."""
        return simplify(polygons.trace(self.pixels(self.region), self.region[:2]), tolerance)


@dataclass(frozen=True, eq=False)
class Mask:
    """The masks of all objects of a prompt.

    Attributes:
        size: of the mask.
        segments: in the order of their values.
        values: uint8 (uint16 with more than 255 objects) [height, width], 0 is background; None where segments are
            whole masks that may overlap.
    """

    size: Size
    segments: tuple[Segment, ...]
    values: Values | None

    @property
    def label(self) -> str | None:
        """The label of the only segment; None if there are several."""
        return self.segments[0].label if len(self.segments) == 1 else None

    @property
    def score(self) -> float:
        """Mean over the segments, weighted by area; the unweighted mean if all are empty, 0 if there are none."""
        if not self.segments:
            return 0.0
        scores = np.array([segment.score for segment in self.segments])
        areas = np.array([segment.area for segment in self.segments], np.float64)
        return float(np.average(scores, weights=areas if areas.any() else None))
