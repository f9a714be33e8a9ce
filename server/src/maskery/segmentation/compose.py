"""Composes the logits of several objects into one mask: merges duplicates, orders overlaps, assigns pixels."""

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

#: Objects whose masks have at least this IoU are the same object, prompted twice.
MERGE_IOU = 0.9

# Larger masks are compared at this number of pixels, which is still finer than the grids of models. Several hundred
# masks are compared at fewer, down to SAM's own grid: the work grows with their number squared.
_COMPARED_PIXELS, _FEWEST_COMPARED_PIXELS = 2**18, 2**16
_COMPARED_BITS = 2**34

# Words of masks that one mask is compared with at a time, which bounds the temporary arrays.
_COMPARED_WORDS = 2**16

Group = tuple[int, ...]
Pixels = Callable[[Region], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class ObjectLogits:
    """The chosen candidate of one object.

    Attributes:
        logits: float32 [rows, columns], or int8 with a `table`; above zero is object.
        extent: (columns, rows) of the grid that the image covers.
        score: predicted IoU.
        label: the object's name, or None.
        table: see `Candidates`.
    """

    logits: NDArray[np.float32] | NDArray[np.int8]
    extent: tuple[float, float]
    score: float
    label: str | None = None
    table: NDArray[np.float32] | None = None

    def upscaled(self, size: Size) -> UpscaledLogits:
        return UpscaledLogits(self.logits, self.extent, size, self.table)


def compose(objects: Sequence[ObjectLogits], size: Size, merge_iou: float = MERGE_IOU) -> Mask:
    """Compose one categorical mask.

    1. Objects whose masks have an IoU of at least `merge_iou` become one segment (transitive): the union of their
       masks, the lowest of their values, the mean of their scores, the first of their labels. 1 disables this.
    2. A segment with at least 90% of its area inside a larger one lies on top of it.
    3. Elsewhere the highest logit wins a pixel; ties go to the lower value.

    Args:
        objects: in the order of the prompt.
        size: of the mask.
        merge_iou: above 0, at most 1.
    """
    groups, covers = _relate(objects, size, merge_iou)
    unions = _unions(objects, groups, size)
    values = np.zeros((size.height, size.width), np.uint16 if len(objects) > 255 else np.uint8)
    overlapping = _find_overlapping(unions)
    for index, (union, group) in enumerate(zip(unions, groups, strict=True)):
        if index not in overlapping and not union.support.is_empty:
            _write(values[union.support.slices], union.mask(union.support), group[0] + 1)
    for band in reduce(Region.hull, (unions[index].support for index in overlapping), NOWHERE).bands():
        _paint(values, band, unions, groups, covers, overlapping)

    def segment(union: _Union, group: Group) -> Segment:
        value = group[0] + 1
        return _segment(lambda region: values[region.slices] == value, union.support, group, objects)

    return Mask(size, tuple(map(segment, unions, groups)), values)


def compose_overlapping(objects: Sequence[ObjectLogits], size: Size) -> Mask:
    """Keep the whole mask of each object; the masks may overlap."""

    def segment(index: int) -> Segment:
        logits = objects[index].upscaled(size)
        return _segment(logits.mask, logits.support, (index,), objects)

    return Mask(size, tuple(map(segment, range(len(objects)))), None)


class _Union:
    """The union of a group's masks: the highest of its logits."""

    def __init__(self, members: Sequence[UpscaledLogits]) -> None:
        self._members = members
        self.support = reduce(Region.hull, (member.support for member in members))

    def region(self, region: Region) -> NDArray[np.float32]:
        return reduce(np.maximum, (member.region(region) for member in self._members))

    def mask(self, region: Region) -> NDArray[np.bool_]:
        return reduce(np.logical_or, (member.mask(region) for member in self._members))


def _unions(objects: Sequence[ObjectLogits], groups: Sequence[Group], size: Size) -> list[_Union]:
    return [_Union([objects[index].upscaled(size) for index in group]) for group in groups]


def _find_overlapping(unions: Sequence[_Union]) -> list[int]:
    """Indices of the unions whose supports share pixels with another's."""
    supports = np.array([union.support for union in unions])
    low, high = supports[:, :2], supports[:, 2:]
    intersect = (np.minimum(high[:, None], high) > np.maximum(low[:, None], low)).all(axis=2)
    return np.flatnonzero(np.count_nonzero(intersect, axis=1) > 1).tolist()


def _relate(objects: Sequence[ObjectLogits], size: Size, merge_iou: float) -> tuple[list[Group], list[list[int]]]:
    """The objects of each segment, and for each segment those that lie on top of it."""
    groups: list[Group] = [(index,) for index in range(len(objects))]
    unions = _unions(objects, groups, _compared_size(size, len(objects)))
    overlapping = _find_overlapping(unions)
    if not overlapping:
        return groups, [[] for _ in groups]
    overlaps = _Overlaps(_bits(unions, overlapping))
    if merge_iou < 1:
        groups = overlaps.duplicates(merge_iou)
        overlaps = overlaps if len(groups) == len(objects) else overlaps.merged(groups)
    return groups, overlaps.covers()


def _bits(unions: Sequence[_Union], wanted: Sequence[int]) -> NDArray[np.uint64]:
    """Masks as bits, uint64 [unions, rows, words]; unions that are not wanted are left empty."""
    whole = reduce(Region.hull, (union.support for union in unions))
    words = -(-max(whole.x1, 1) // 64)
    bits = np.zeros((len(unions), max(whole.y1, 1), words * 8), np.uint8)
    for index in wanted:
        support = unions[index].support
        first = support.x0 // 8
        packed = np.packbits(unions[index].mask(support._replace(x0=first * 8)), axis=1)
        bits[index, support.y0 : support.y1, first : first + packed.shape[1]] = packed
    return bits.view(np.uint64)


class _Overlaps:
    """Areas and intersections of masks, in pixels.

    Args:
        bits: uint64 [masks, rows, words].

    Attributes:
        areas: int64 [masks].
        intersections: int64 [masks, masks].
    """

    def __init__(self, bits: NDArray[np.uint64]) -> None:
        self._bits = bits
        count = len(bits)
        self.intersections = np.zeros((count, count), np.int64)
        for index, mask in enumerate(bits):
            rows, words = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            if not len(rows):
                continue
            crop = slice(rows[0], rows[-1] + 1), slice(words[0], words[-1] + 1)
            step = max(1, _COMPARED_WORDS // mask[crop].size)
            for start in range(index, count, step):
                others = slice(start, start + step)
                shared = np.bitwise_count(bits[others, *crop] & mask[crop]).sum(axis=(1, 2), dtype=np.int64)
                self.intersections[index, others] = self.intersections[others, index] = shared
        self.areas = self.intersections.diagonal()

    def merged(self, groups: Sequence[Group]) -> "_Overlaps":
        """Overlaps of the groups' unions."""
        return _Overlaps(np.stack([np.bitwise_or.reduce(self._bits[list(group)]) for group in groups]))

    def duplicates(self, merge_iou: float) -> list[Group]:
        """Groups of masks of the same object, in the order of their first members."""
        unions = self.areas[:, None] + self.areas[None, :] - self.intersections
        alike = (self.intersections >= merge_iou * unions) & (self.intersections > 0)
        leader = list(range(len(self.areas)))
        for later, earlier in np.argwhere(np.tril(alike, -1)).tolist():
            old, new = sorted((leader[later], leader[earlier]), reverse=True)
            if old != new:
                leader = [new if first == old else first for first in leader]
        return [tuple(index for index, first in enumerate(leader) if first == group) for group in sorted(set(leader))]

    def covers(self) -> list[list[int]]:
        """For each mask those that lie on top of it."""
        inside = (self.intersections >= INSIDE * self.areas[:, None]) & (self.areas[:, None] > 0)
        smaller = self.areas[:, None] < self.areas[None, :]
        return [np.flatnonzero(column).tolist() for column in (inside & smaller).T]


def _compared_size(size: Size, count: int) -> Size:
    pixels = min(_COMPARED_PIXELS, max(_FEWEST_COMPARED_PIXELS, _COMPARED_BITS // count**2))
    shrink = min(1.0, (pixels / size.pixels) ** 0.5)
    return Size(max(1, round(size.width * shrink)), max(1, round(size.height * shrink)))


def _write(window: Values, mask: NDArray[np.bool_], value: int) -> None:
    """Give the pixels of a mask a value, in a window that has no values yet."""
    np.multiply(mask, window.dtype.type(value), out=window)


def _paint(
    values: Values,
    band: Region,
    unions: Sequence[_Union],
    groups: Sequence[Group],
    covers: Sequence[list[int]],
    overlapping: Sequence[int],
) -> None:
    """Assign each pixel of the band to one of the segments that may overlap there."""
    highest = np.zeros((band.y1 - band.y0, band.x1 - band.x0), np.float32)
    for index in overlapping:
        region = band.intersection(unions[index].support)
        if region.is_empty:
            continue
        logits = unions[index].region(region)
        for cover in covers[index]:
            covered = region.intersection(unions[cover].support)
            if not covered.is_empty:
                logits[covered.within(region).slices][unions[cover].mask(covered)] = 0
        window = highest[region.within(band).slices]
        values[region.slices][logits > window] = groups[index][0] + 1
        np.maximum(window, logits, out=window)


def measure_segment(
    pixels: Pixels, support: Region, value: int, prompts: Group, score: float, label: str | None = None
) -> Segment:
    """A segment with its area and bounding box.

    Args:
        support: the region outside which it has no pixels.
    """
    area, region = 0, NOWHERE
    if not support.is_empty:
        crop = pixels(support).view(np.uint8)
        area = cv2.countNonZero(crop)
        x, y, width, height = cv2.boundingRect(crop)
        if area:
            region = Region(support.x0 + x, support.y0 + y, support.x0 + x + width, support.y0 + y + height)
    return Segment(value, prompts, score, area, region, pixels, label)


def _segment(pixels: Pixels, support: Region, group: Group, objects: Sequence[ObjectLogits]) -> Segment:
    score = float(np.mean([objects[index].score for index in group]))
    label = next(filter(None, (objects[index].label for index in group)), None)
    return measure_segment(pixels, support, group[0] + 1, group, score, label)
