"""Objects' logits to one mask: which are the same thing, which lies on top of which, who owns a pixel."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.image import Size
from maskery.segmentation.mask import Mask, Segment, Values
from maskery.segmentation.upscale import Region, UpscaledLogits

#: An object with this share of its area inside another lies on top of it: a wheel on its car.
INSIDE = 0.9

#: Objects whose masks have at least this IoU are the same thing asked for twice.
MERGE_IOU = 0.9

# Larger masks are compared at this many pixels, which is still finer than the grids that models answer on.
_COMPARED_PIXELS = 2**18

# Painted at a time, so that the memory needed beside the mask does not grow with it.
_BAND_PIXELS = 2**22

Group = tuple[int, ...]
Pixels = Callable[[Region], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Layer:
    """One object's chosen candidate.

    Attributes:
        logits: float32 [rows, columns]; above zero is object.
        extent: (columns, rows) of the grid that the picture covers.
        score: predicted IoU.
    """

    logits: NDArray[np.float32]
    extent: tuple[float, float]
    score: float


def compose(layers: Sequence[Layer], size: Size, merge_iou: float = MERGE_IOU) -> Mask:
    """One categorical mask of all objects.

    1. Objects whose masks have an IoU of at least `merge_iou` are one segment (transitive): the union of their
       masks, the lowest of their values, the mean of their scores. 1 turns this off.
    2. A segment with at least 90% of its area inside a larger one lies on top of it.
    3. Elsewhere the highest logit wins a pixel; ties go to the lower value.

    Args:
        layers: one per object, in the order of the prompt.
        size: of the mask.
        merge_iou: above 0, at most 1.
    """
    groups: list[Group] = [(index,) for index in range(len(layers))]
    covers: list[list[int]] = [[]] * len(layers)
    if len(layers) > 1:
        compared = _compared_size(size)
        if merge_iou < 1:
            groups = _Overlaps(_sheets(layers, groups, compared)).same(merge_iou)
        covers = _Overlaps(_sheets(layers, groups, compared)).covers()
    sheets = _sheets(layers, groups, size)
    values = np.zeros((size.height, size.width), np.uint16 if len(layers) > 255 else np.uint8)
    for band in _bands(size):
        _paint(values, band, sheets, groups, covers)

    def segment(sheet: _Sheet, group: Group) -> Segment:
        value = group[0] + 1
        return _segment(lambda region: values[region.slices] == value, sheet.support, group, layers)

    return Mask(size, tuple(map(segment, sheets, groups)), values)


def keep_whole(layers: Sequence[Layer], size: Size) -> Mask:
    """Each object's whole mask, whatever else covers it."""

    def segment(index: int) -> Segment:
        logits = UpscaledLogits(layers[index].logits, layers[index].extent, size)
        return _segment(lambda region: logits.region(region) > 0, logits.support, (index,), layers)

    return Mask(size, tuple(map(segment, range(len(layers)))), None)


class _Sheet:
    """The union of a group's masks: the highest of its logits."""

    def __init__(self, members: Sequence[UpscaledLogits]) -> None:
        self._members = members
        self.support = reduce(Region.hull, (member.support for member in members))

    def region(self, region: Region) -> NDArray[np.float32]:
        return reduce(np.maximum, (member.region(region) for member in self._members))


def _sheets(layers: Sequence[Layer], groups: Sequence[Group], size: Size) -> list[_Sheet]:
    return [
        _Sheet([UpscaledLogits(layers[index].logits, layers[index].extent, size) for index in group])
        for group in groups
    ]


class _Overlaps:
    """Areas and intersections of masks, in pixels.

    Attributes:
        areas: int64 [sheets].
        intersections: int64 [sheets, sheets].
    """

    def __init__(self, sheets: Sequence[_Sheet]) -> None:
        whole = reduce(Region.hull, (sheet.support for sheet in sheets))
        words = -(-max(whole.x1, 1) // 64)
        bits = np.zeros((len(sheets), max(whole.y1, 1), words * 8), np.uint8)
        for index, sheet in enumerate(sheets):
            support = sheet.support
            if not support.is_empty:
                row = Region(0, support.y0, support.x1, support.y1)
                packed = np.packbits(sheet.region(row) > 0, axis=1)
                bits[index, support.y0 : support.y1, : packed.shape[1]] = packed
        masks = bits.reshape(len(sheets), -1).view(np.uint64)
        self.intersections = np.zeros((len(sheets), len(sheets)), np.int64)
        for index, mask in enumerate(masks):
            shared = np.bitwise_count(masks[index:] & mask).sum(axis=1, dtype=np.int64)
            self.intersections[index, index:] = self.intersections[index:, index] = shared
        self.areas = self.intersections.diagonal()

    def same(self, merge_iou: float) -> list[Group]:
        """Groups of one thing each, in the order of their first members."""
        unions = self.areas[:, None] + self.areas[None, :] - self.intersections
        alike = (self.intersections >= merge_iou * unions) & (self.intersections > 0)
        leader = list(range(len(self.areas)))
        for later, earlier in np.argwhere(np.tril(alike, -1)).tolist():
            old, new = sorted((leader[later], leader[earlier]), reverse=True)
            leader = [new if first == old else first for first in leader]
        return [tuple(index for index, first in enumerate(leader) if first == group) for group in sorted(set(leader))]

    def covers(self) -> list[list[int]]:
        """For each mask those that lie on top of it."""
        inside = (self.intersections >= INSIDE * self.areas[:, None]) & (self.areas[:, None] > 0)
        smaller = self.areas[:, None] < self.areas[None, :]
        return [np.flatnonzero(column).tolist() for column in (inside & smaller).T]


def _compared_size(size: Size) -> Size:
    shrink = min(1.0, (_COMPARED_PIXELS / size.pixels) ** 0.5)
    return Size(max(1, round(size.width * shrink)), max(1, round(size.height * shrink)))


def _bands(size: Size) -> Iterator[Region]:
    rows = max(1, _BAND_PIXELS // size.width)
    for y0 in range(0, size.height, rows):
        yield Region(0, y0, size.width, min(y0 + rows, size.height))


def _paint(
    values: Values,
    band: Region,
    sheets: Sequence[_Sheet],
    groups: Sequence[Group],
    covers: Sequence[list[int]],
) -> None:
    """Give each pixel of the band to its segment."""
    highest = np.zeros((band.y1 - band.y0, band.x1), np.float32)
    for sheet, group, above in zip(sheets, groups, covers, strict=True):
        region = band.intersection(sheet.support)
        if region.is_empty:
            continue
        logits = sheet.region(region)
        for cover in above:
            covered = region.intersection(sheets[cover].support)
            if not covered.is_empty:
                hidden = sheets[cover].region(covered) > 0
                inner = Region(
                    covered.x0 - region.x0,
                    covered.y0 - region.y0,
                    covered.x1 - region.x0,
                    covered.y1 - region.y0,
                )
                logits[inner.slices][hidden] = 0
        window = highest[region.y0 - band.y0 : region.y1 - band.y0, region.x0 : region.x1]
        wins = logits > window
        np.copyto(window, logits, where=wins)
        np.copyto(values[region.slices], group[0] + 1, where=wins, casting="unsafe")


def _segment(pixels: Pixels, support: Region, group: Group, layers: Sequence[Layer]) -> Segment:
    crop = pixels(support) if not support.is_empty else np.zeros((0, 0), np.bool_)
    rows, columns = np.flatnonzero(crop.any(1)), np.flatnonzero(crop.any(0))
    region = Region(0, 0, 0, 0)
    if len(rows):
        region = Region(
            support.x0 + int(columns[0]),
            support.y0 + int(rows[0]),
            support.x0 + int(columns[-1]) + 1,
            support.y0 + int(rows[-1]) + 1,
        )
    score = float(np.mean([layers[index].score for index in group]))
    return Segment(group[0] + 1, group, score, int(np.count_nonzero(crop)), region, pixels)
