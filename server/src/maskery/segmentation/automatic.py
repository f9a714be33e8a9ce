"""Everything in an image: a grid of points is decoded, and the best of its candidates make one mask.

As in Kirillov et al., "Segment Anything" (2023), section 5 and appendix B, for one crop, the whole image: candidates
are kept whose predicted IoU and stability are high, and non-maximum suppression of their boxes removes duplicates.

What is kept of a candidate is its box and its area: those that are chosen are decoded once more, a few at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.compose import measure_segment
from maskery.segmentation.errors import PromptError
from maskery.segmentation.image import Size
from maskery.segmentation.mask import Mask, Segment, Values
from maskery.segmentation.model import Candidates, Embedding, Model
from maskery.segmentation.prompt import ObjectPrompt, PromptLimits
from maskery.segmentation.segmenter import Segmentation, Usage
from maskery.segmentation.upscale import Region, UpscaledLogits

Item = TypeVar("Item")

# Logits by which a mask is made smaller and larger: it is stable if its area changes little.
_STABILITY_OFFSET = 1.0

#: On predicted IoU and stability, as in the paper's code.
SAM_THRESHOLDS = (0.88, 0.95)

# Boxes and areas of masks are measured at this number of pixels, or at the image's own if that has fewer.
_MEASURED_PIXELS = 2**18

#: Objects that are decoded at a time. Requests of others run in between.
BATCH = 32


@dataclass(frozen=True)
class AutomaticOptions:
    """How everything in an image is found.

    Attributes:
        points_per_side: of the grid of points, along the width and along the height.
        pred_iou_threshold: candidates with a predicted IoU of at most this are left out. None: the model's own value.
        stability_threshold: candidates with a stability of at most this are left out: the IoU of their masks at logits
            above 1 and above -1. None: the model's own value.
        nms_iou: of candidates whose boxes have a larger IoU, the one with the highest predicted IoU is kept.
        min_area: in pixels of the mask. Parts and holes of an object that are smaller are removed, and objects of
            which fewer are visible are left out.
        max_objects: the number of objects, those with the highest predicted IoU.
    """

    points_per_side: int = 32
    pred_iou_threshold: float | None = None
    stability_threshold: float | None = None
    nms_iou: float = 0.7
    min_area: int = 100
    max_objects: int = 256

    def check(self, limits: PromptLimits) -> None:
        """Raises PromptError: the grid has too many points, or there are too many objects."""
        points = self.points_per_side**2
        if points > limits.max_points:
            raise PromptError(
                f"automatic.points_per_side is {self.points_per_side}, which makes {points:,} points; at most "
                f"{limits.max_points:,} are accepted",
                "automatic.points_per_side",
            )
        if self.max_objects > limits.max_objects:
            raise PromptError(
                f"automatic.max_objects is {self.max_objects:,}; at most {limits.max_objects:,} objects are accepted",
                "automatic.max_objects",
            )

    def thresholds(self, model: Model) -> tuple[float, float]:
        """The thresholds on predicted IoU and stability for a model.

        A model has its own in an attribute `automatic_thresholds`, if those of SAM do not suit what it predicts.
        """
        predicted_iou, stability = getattr(model, "automatic_thresholds", SAM_THRESHOLDS)
        return (
            predicted_iou if self.pred_iou_threshold is None else self.pred_iou_threshold,
            stability if self.stability_threshold is None else self.stability_threshold,
        )

    def grid(self, size: Size) -> list[ObjectPrompt]:
        """A prompt per point of the grid, row by row; the points are the centres of equal parts of the image."""
        steps = (np.arange(self.points_per_side) + 0.5) / self.points_per_side
        positive = np.ones(1, np.uint8)
        return [
            ObjectPrompt(np.array([[x * size.width, y * size.height]], np.float32), positive)
            for y in steps
            for x in steps
        ]


def check_model(model: Model) -> None:
    """Raises PromptError: the model decodes objects one by one, which takes too long for a grid of points."""
    if model.max_batch == 1:
        raise PromptError(
            f"{model.name} cannot find everything in an image: it segments one object at a time; use another model",
            "automatic",
        )


@dataclass(frozen=True, eq=False)
class Proposal:
    """A candidate that was kept.

    Attributes:
        prompt: the point it was decoded for.
        rank: its index among the candidates of this point.
        score: its predicted IoU.
        box: (x0, y0, x1, y1) in pixels of the image as it is measured.
        area: in the same pixels.
    """

    prompt: ObjectPrompt
    rank: int
    score: float
    box: tuple[int, int, int, int]
    area: int


class Search:
    """Collects the candidates of the grid's points.

    Args:
        model: that decodes them.
        size: of the upright image.

    Attributes:
        decoded: the number of candidates so far.
    """

    def __init__(self, model: Model, size: Size, options: AutomaticOptions) -> None:
        self.decoded = 0
        self._options = options
        self._predicted_iou, self._stability = options.thresholds(model)
        shrink = min(1.0, (_MEASURED_PIXELS / size.pixels) ** 0.5)
        self._size = Size(max(1, round(size.width * shrink)), max(1, round(size.height * shrink)))
        self._proposals: list[Proposal] = []

    def add(self, prompts: Sequence[ObjectPrompt], candidates: Sequence[Candidates]) -> None:
        """Keep what is good enough of the candidates of some points."""
        for prompt, each in zip(prompts, candidates, strict=True):
            self.decoded += len(each)
            for rank in np.flatnonzero(each.scores > self._predicted_iou).tolist():
                if _stability(each, rank) > self._stability:
                    self._propose(prompt, each, rank)

    def choose(self) -> list[Proposal]:
        """The objects: what non-maximum suppression keeps, at most `max_objects`, the smallest first."""
        # Sorting is stable: of equal scores, the first point's comes first.
        ranked = sorted(self._proposals, key=lambda each: -each.score)
        kept = [ranked[index] for index in _suppress([each.box for each in ranked], self._options.nms_iou)]
        return sorted(kept[: self._options.max_objects], key=lambda each: each.area)

    def _propose(self, prompt: ObjectPrompt, candidates: Candidates, rank: int) -> None:
        logits = UpscaledLogits(candidates.logits_of(rank), candidates.extent, self._size)
        if logits.support.is_empty:
            return
        mask = logits.mask(logits.support).view(np.uint8)
        if area := cv2.countNonZero(mask):
            x, y, width, height = cv2.boundingRect(mask)
            x, y = x + logits.support.x0, y + logits.support.y0
            box = (x, y, x + width, y + height)
            self._proposals.append(Proposal(prompt, rank, float(candidates.scores[rank]), box, area))


class Layers:
    """Paints the chosen objects into one mask: smaller objects lie on top of larger ones.

    Args:
        size: of the mask.
        min_area: see `AutomaticOptions`.
        count: the number of objects.
    """

    def __init__(self, size: Size, min_area: int, count: int) -> None:
        self._size = size
        self._min_area = max(1, min_area)
        shape = size.height, size.width
        self._values: Values = np.zeros(shape, np.uint16) if count > 255 else np.zeros(shape, np.uint8)
        self._painted: list[tuple[float, Region]] = []

    def paint(self, chosen: Sequence[Proposal], candidates: Sequence[Candidates]) -> None:
        """Paint objects below those that are painted already.

        Args:
            candidates: of their prompts.
        """
        for proposal, each in zip(chosen, candidates, strict=True):
            logits = UpscaledLogits(each.logits_of(proposal.rank), each.extent, self._size)
            if logits.support.is_empty:
                continue
            window = self._values[logits.support.slices]
            visible = _without_small_regions(logits.mask(logits.support), self._min_area) & (window == 0)
            if np.count_nonzero(visible) >= self._min_area:
                self._painted.append((proposal.score, logits.support))
                window[visible] = len(self._painted)

    def mask(self) -> Mask:
        """The mask; value 1 is the object below all others."""
        count = len(self._painted)
        # Values in the order of painting to values in the order of the layers, from the lowest.
        order = [0, *range(count, 0, -1)]
        values: Values = (np.array(order, np.uint16) if count > 255 else np.array(order, np.uint8))[self._values]
        layers = self._painted[::-1]

        def segment(value: int, score: float, support: Region) -> Segment:
            return measure_segment(lambda region: values[region.slices] == value, support, value, (), score)

        return Mask(self._size, tuple(segment(value, *layer) for value, layer in enumerate(layers, start=1)), values)


def segment_everything(
    model: Model, embedding: Embedding, options: AutomaticOptions, size: Size | None = None
) -> Segmentation:
    """Segment everything in an image that has been encoded.

    Args:
        size: of the mask; None: the image's own.
    """
    batch = min(model.max_batch, BATCH)
    grid, search = options.grid(embedding.size), Search(model, embedding.size, options)
    for prompts in batches(grid, batch):
        search.add(prompts, model.decode(embedding, prompts))
    chosen = search.choose()
    layers = Layers(size or embedding.size, options.min_area, len(chosen))
    for part in batches(chosen, batch):
        layers.paint(part, model.decode(embedding, [each.prompt for each in part]))
    return Segmentation((layers.mask(),), Usage(embedding.tokens, len(grid), search.decoded))


def batches(items: Sequence[Item], length: int) -> list[Sequence[Item]]:
    """The items, at most so many at a time."""
    return [items[start : start + length] for start in range(0, len(items), length)]


def _stability(candidates: Candidates, rank: int) -> float:
    columns, rows = (max(1, round(side)) for side in candidates.extent)
    logits = candidates.logits_of(rank)[:rows, :columns]
    larger = np.count_nonzero(logits > -_STABILITY_OFFSET)
    return np.count_nonzero(logits > _STABILITY_OFFSET) / larger if larger else 0.0


def _suppress(boxes: Sequence[tuple[int, int, int, int]], iou: float) -> list[int]:
    """Indices of the boxes that overlap none before them, which is kept itself, by more than an IoU."""
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    left = np.ones(len(corners), np.bool_)
    kept = []
    for index in range(len(corners)):
        if not left[index]:
            continue
        kept.append(index)
        low = np.maximum(corners[index, :2], corners[:, :2])
        high = np.minimum(corners[index, 2:], corners[:, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        left &= shared <= iou * (areas + areas[index] - shared)
    return kept


def _without_small_regions(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    """The mask without holes, then without parts, of fewer pixels."""
    if min_area <= 1:
        return mask
    for background in (True, False):
        # With an edge, so that what surrounds the object is one region, and no hole.
        padded = np.pad(mask, 1) ^ background
        _, labels, stats, _ = cv2.connectedComponentsWithStats(padded.view(np.uint8), connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < min_area
        small[0] = False
        if background:
            small[labels[0, 0]] = False
        mask = mask ^ small[labels][1:-1, 1:-1]
    return mask
