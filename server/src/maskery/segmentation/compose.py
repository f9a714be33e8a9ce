"""Objects' logits to one mask: which are the same thing, which lies on top of which, who owns a pixel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.image import Size
from maskery.segmentation.mask import Mask, Segment, Values
from maskery.segmentation.upscale import NOWHERE, Region, UpscaledLogits

#: An object with this share of its area inside another lies on top of it: a wheel on its car.
INSIDE = 0.9

#: Objects whose masks have at least this IoU are the same thing asked for twice.
MERGE_IOU = 0.9

# Larger masks are compared at this many pixels, which is still finer than the grids that models answer on.
_COMPARED_PIXELS = 2**18

Group = tuple[int, ...]
Pixels = Callable[[Region], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Layer:
    """One object's chosen candidate.

    Attributes:
        logits: float32 [rows, columns]; above zero is object.
        extent: (columns, rows) of the grid that the image covers.
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
    groups, covers = _relate(layers, size, merge_iou)
    sheets = _sheets(layers, groups, size)
    values = np.zeros((size.height, size.width), np.uint16 if len(layers) > 255 else np.uint8)
    crowded = _crowded(sheets)
    for index, (sheet, group) in enumerate(zip(sheets, groups, strict=True)):
        if index not in crowded and not sheet.support.is_empty:
            _write(values[sheet.support.slices], sheet.mask(sheet.support), group[0] + 1)
    for band in reduce(Region.hull, (sheets[index].support for index in crowded), NOWHERE).bands():
        _paint(values, band, sheets, groups, covers, crowded)

    def segment(sheet: _Sheet, group: Group) -> Segment:
        value = group[0] + 1
        return _segment(lambda region: values[region.slices] == value, sheet.support, group, layers)

    return Mask(size, tuple(map(segment, sheets, groups)), values)


def keep_whole(layers: Sequence[Layer], size: Size) -> Mask:
    """Each object's whole mask, whatever else covers it."""

    def segment(index: int) -> Segment:
        logits = UpscaledLogits(layers[index].logits, layers[index].extent, size)
        return _segment(logits.mask, logits.support, (index,), layers)

    return Mask(size, tuple(map(segment, range(len(layers)))), None)


class _Sheet:
    """The union of a group's masks: the highest of its logits."""

    def __init__(self, members: Sequence[UpscaledLogits]) -> None:
        self._members = members
        self.support = reduce(Region.hull, (member.support for member in members))

    def region(self, region: Region) -> NDArray[np.float32]:
        return reduce(np.maximum, (member.region(region) for member in self._members))

    def mask(self, region: Region) -> NDArray[np.bool_]:
        return reduce(np.logical_or, (member.mask(region) for member in self._members))


def _sheets(layers: Sequence[Layer], groups: Sequence[Group], size: Size) -> list[_Sheet]:
    return [
        _Sheet([UpscaledLogits(layers[index].logits, layers[index].extent, size) for index in group])
        for group in groups
    ]


def _crowded(sheets: Sequence[_Sheet]) -> list[int]:
    """Which sheets have supports that share pixels with another's; the others have nothing to settle."""
    supports = np.array([sheet.support for sheet in sheets])
    low, high = supports[:, :2], supports[:, 2:]
    meet = (np.minimum(high[:, None], high) > np.maximum(low[:, None], low)).all(axis=2)
    return np.flatnonzero(np.count_nonzero(meet, axis=1) > 1).tolist()


def _relate(layers: Sequence[Layer], size: Size, merge_iou: float) -> tuple[list[Group], list[list[int]]]:
    """Which objects are one segment, and for each segment those that lie on top of it."""
    groups: list[Group] = [(index,) for index in range(len(layers))]
    sheets = _sheets(layers, groups, _compared_size(size))
    crowded = _crowded(sheets)
    if not crowded:
        return groups, [[] for _ in groups]
    overlaps = _Overlaps(_bits(sheets, crowded))
    if merge_iou < 1:
        groups = overlaps.same(merge_iou)
        overlaps = overlaps if len(groups) == len(layers) else overlaps.merged(groups)
    return groups, overlaps.covers()


def _bits(sheets: Sequence[_Sheet], wanted: Sequence[int]) -> NDArray[np.uint64]:
    """Masks as bits, [sheets, rows, words]; those of sheets that are not wanted are left empty."""
    whole = reduce(Region.hull, (sheet.support for sheet in sheets))
    words = -(-max(whole.x1, 1) // 64)
    bits = np.zeros((len(sheets), max(whole.y1, 1), words * 8), np.uint8)
    for index in wanted:
        support = sheets[index].support
        first = support.x0 // 8
        packed = np.packbits(sheets[index].mask(support._replace(x0=first * 8)), axis=1)
        bits[index, support.y0 : support.y1, first : first + packed.shape[1]] = packed
    return bits.view(np.uint64)


class _Overlaps:
    """Areas and intersections of masks, in pixels.

    Attributes:
        areas: int64 [masks].
        intersections: int64 [masks, masks].
    """

    def __init__(self, bits: NDArray[np.uint64]) -> None:
        self._bits = bits
        count = len(bits)
        self.intersections = np.zeros((count, count), np.int64)
        filled = np.bitwise_or.reduce(bits, axis=2)
        for index in range(count):
            rows = np.flatnonzero(filled[index])
            if not len(rows):
                continue
            part = slice(rows[0], rows[-1] + 1)
            shared = np.bitwise_count(bits[index:, part] & bits[index, part]).sum(axis=(1, 2), dtype=np.int64)
            self.intersections[index, index:] = self.intersections[index:, index] = shared
        self.areas = self.intersections.diagonal()

    def merged(self, groups: Sequence[Group]) -> "_Overlaps":
        """Of the groups' unions."""
        return _Overlaps(np.stack([np.bitwise_or.reduce(self._bits[list(group)]) for group in groups]))

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


def _write(window: Values, mask: NDArray[np.bool_], value: int) -> None:
    """Give the pixels of a mask a value where nothing has been written yet."""
    np.multiply(mask, window.dtype.type(value), out=window)


def _paint(
    values: Values,
    band: Region,
    sheets: Sequence[_Sheet],
    groups: Sequence[Group],
    covers: Sequence[list[int]],
    crowded: Sequence[int],
) -> None:
    """Give each pixel of the band to its segment, of those that may lie on one another."""
    highest = np.zeros((band.y1 - band.y0, band.x1 - band.x0), np.float32)
    for index in crowded:
        region = band.intersection(sheets[index].support)
        if region.is_empty:
            continue
        logits = sheets[index].region(region)
        for cover in covers[index]:
            covered = region.intersection(sheets[cover].support)
            if not covered.is_empty:
                logits[covered.within(region).slices][sheets[cover].mask(covered)] = 0
        window = highest[region.within(band).slices]
        values[region.slices][logits > window] = groups[index][0] + 1
        np.maximum(window, logits, out=window)


def _segment(pixels: Pixels, support: Region, group: Group, layers: Sequence[Layer]) -> Segment:
    area, region = 0, NOWHERE
    if not support.is_empty:
        crop = pixels(support).view(np.uint8)
        area = cv2.countNonZero(crop)
        x, y, width, height = cv2.boundingRect(crop)
        if area:
            region = Region(support.x0 + x, support.y0 + y, support.x0 + x + width, support.y0 + y + height)
    score = float(np.mean([layers[index].score for index in group]))
    return Segment(group[0] + 1, group, score, area, region, pixels)
