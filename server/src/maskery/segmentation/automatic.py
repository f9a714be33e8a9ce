"""Everything in an image: a grid of points is decoded, and the best of its candidates make one mask.

As in Kirillov et al., "Segment Anything" (2023), section 5 and appendix B, for one crop, the whole image: candidates
are kept whose predicted IoU and stability are high, and non-maximum suppression of their boxes removes duplicates.

What is kept of a candidate is its box and its area: those that are chosen are decoded once more, a few at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.compose import measure_segment
from maskery.segmentation.errors import PromptError
from maskery.segmentation.image import Size
from maskery.segmentation.mask import Mask, Segment, Values
from maskery.segmentation.model import Candidates, Earlier, Embedding, Model
from maskery.segmentation.prompt import ObjectPrompt, PromptLimits
from maskery.segmentation.segmenter import Segmentation, Usage
from maskery.segmentation.upscale import Region, UpscaledLogits

Item = TypeVar("Item")

# Logits by which a mask is made smaller and larger: it is stable if its area changes little.
_STABILITY_OFFSET = 1.0

# Boxes and areas of masks are measured at this number of pixels, or at the image's own if that has fewer.
_MEASURED_PIXELS = 2**18

#: Objects that are decoded at a time. Requests of others run in between.
BATCH = 32

#: Objects at most, unless the limit on objects is lower.
MAX_OBJECTS = 256


@dataclass(frozen=True)
class AutomaticDefaults:
    """Options whose best values depend on the model; those of SAM, as in the paper's code."""

    points_per_side: int = 32
    pred_iou_threshold: float = 0.88
    stability_threshold: float = 0.95


@dataclass(frozen=True)
class AutomaticOptions:
    """How everything in an image is found. None selects the model's default.

    Attributes:
        points_per_side: of the grid of points, along the width and along the height.
        pred_iou_threshold: candidates with a predicted IoU of at most this are left out.
        stability_threshold: candidates with a stability of at most this are left out: the IoU of their masks at logits
            above 1 and above -1.
        nms_iou: of candidates whose boxes have a larger IoU, the one with the highest predicted IoU is kept.
        min_area: in pixels of the mask. Visible parts of an object, and its holes, that are smaller are removed.
        max_objects: the number of objects at most, those with the highest predicted IoU. Default: 256, or the limit on
            objects if that is lower.
    """

    points_per_side: int | None = None
    pred_iou_threshold: float | None = None
    stability_threshold: float | None = None
    nms_iou: float = 0.7
    min_area: int = 100
    max_objects: int | None = None

    def resolve(self, model: Model, limits: PromptLimits | None = None) -> "ResolvedOptions":
        """The options with every default filled in.

        A model has its own in an attribute `automatic_defaults`, if those of SAM do not suit it.

        Raises:
            PromptError: the model decodes objects one by one, the grid has too many points, or there are too many
                objects.
        """
        if model.max_batch == 1:
            raise PromptError(
                f"{model.name} cannot find everything in an image: it segments one object at a time; use another model",
                "automatic",
            )
        defaults: AutomaticDefaults = getattr(model, "automatic_defaults", AutomaticDefaults())
        side = defaults.points_per_side if self.points_per_side is None else self.points_per_side
        if limits and side**2 > limits.max_points:
            raise PromptError(
                f"automatic.points_per_side is {side}, which makes {side**2:,} points; at most "
                f"{limits.max_points:,} are accepted",
                "automatic.points_per_side",
            )
        count = self.max_objects
        if count is None:
            count = min(MAX_OBJECTS, limits.max_objects) if limits else MAX_OBJECTS
        elif limits and count > limits.max_objects:
            raise PromptError(
                f"automatic.max_objects is {count:,}; at most {limits.max_objects:,} objects are accepted",
                "automatic.max_objects",
            )
        predicted_iou, stability = self.pred_iou_threshold, self.stability_threshold
        return ResolvedOptions(
            side,
            defaults.pred_iou_threshold if predicted_iou is None else predicted_iou,
            defaults.stability_threshold if stability is None else stability,
            self.nms_iou,
            self.min_area,
            count,
        )


@dataclass(frozen=True)
class ResolvedOptions:
    """Options of which none is left to a default; attributes as of `AutomaticOptions`."""

    points_per_side: int
    pred_iou_threshold: float
    stability_threshold: float
    nms_iou: float
    min_area: int
    max_objects: int

    def grid(self, size: Size) -> list[ObjectPrompt]:
        """A prompt per point of the grid, row by row; the points are the centres of equal parts of the image."""
        steps = (np.arange(self.points_per_side) + 0.5) / self.points_per_side
        positive = np.ones(1, np.uint8)
        return [
            ObjectPrompt(np.array([[x * size.width, y * size.height]], np.float32), positive)
            for y in steps
            for x in steps
        ]


@dataclass(frozen=True, eq=False)
class Proposal:
    """A candidate that was kept.

    Attributes:
        prompt: the point it was decoded for.
        rank: its index among the candidates of this point.
        score: its predicted IoU.
        box: (x0, y0, x1, y1), its first and last pixels, in the image as it is measured. As in the paper's code, the
            last pixels do not count as its area.
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
        size: of the upright image.

    Attributes:
        decoded: the number of candidates so far.
    """

    def __init__(self, size: Size, options: ResolvedOptions) -> None:
        self.decoded = 0
        self._options = options
        shrink = min(1.0, (_MEASURED_PIXELS / size.pixels) ** 0.5)
        self._size = Size(max(1, round(size.width * shrink)), max(1, round(size.height * shrink)))
        self._proposals: list[Proposal] = []

    def add(self, prompts: Sequence[ObjectPrompt], candidates: Sequence[Candidates]) -> None:
        """Keep what is good enough of the candidates of some points."""
        for prompt, each in zip(prompts, candidates, strict=True):
            self.decoded += len(each)
            for rank in np.flatnonzero(each.scores > self._options.pred_iou_threshold).tolist():
                self._propose(prompt, each, rank)

    def choose(self) -> list[Proposal]:
        """The objects: what non-maximum suppression keeps, at most `max_objects`, the smallest first."""
        # Sorting is stable: of equal scores, the first point's comes first.
        ranked = sorted(self._proposals, key=lambda each: -each.score)
        kept = [ranked[index] for index in _suppress([each.box for each in ranked], self._options.nms_iou)]
        return sorted(kept[: self._options.max_objects], key=lambda each: each.area)

    def _propose(self, prompt: ObjectPrompt, candidates: Candidates, rank: int) -> None:
        # Raised, so that their support is that of the larger mask.
        raised = UpscaledLogits(candidates.logits_of(rank) + _STABILITY_OFFSET, candidates.extent, self._size)
        support = raised.support
        if support.is_empty:
            return
        values = raised.region(support)
        mask = (values > _STABILITY_OFFSET).view(np.uint8)
        smaller, larger = np.count_nonzero(values > 2 * _STABILITY_OFFSET), np.count_nonzero(values > 0)
        area = cv2.countNonZero(mask)
        if area and smaller > self._options.stability_threshold * larger:
            x, y, width, height = cv2.boundingRect(mask)
            x, y = x + support.x0, y + support.y0
            box = (x, y, x + width - 1, y + height - 1)
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
            logits = UpscaledLogits(each.logits[proposal.rank], each.extent, self._size, each.table)
            if logits.support.is_empty:
                continue
            window = self._values[logits.support.slices]
            whole = _without_small_holes(logits.mask(logits.support), self._min_area)
            # After layering, so that small parts which others leave visible belong to what lies below.
            visible = _without_small_parts(whole & (window == 0), self._min_area)
            if visible.any():
                self._painted.append((proposal.score, logits.support))
                window[visible] = len(self._painted)

    def mask(self) -> Mask:
        """The mask; value 1 is the object of which most is visible."""
        count = len(self._painted)
        areas = np.bincount(self._values.ravel(), minlength=count + 1)[1:]
        # Of equal areas, the lower layer comes first.
        order = sorted(range(count), key=lambda index: (-areas[index], -index))
        renamed = np.zeros(count + 1, self._values.dtype)
        renamed[[index + 1 for index in order]] = np.arange(1, count + 1)
        values: Values = renamed[self._values]

        def segment(value: int, score: float, support: Region) -> Segment:
            return measure_segment(lambda region: values[region.slices] == value, support, value, (), score)

        segments = (segment(value, *self._painted[index]) for value, index in enumerate(order, start=1))
        return Mask(self._size, tuple(segments), values)


def segment_everything(
    model: Model, embedding: Embedding, options: ResolvedOptions, size: Size | None = None
) -> Segmentation:
    """Segment everything in an image that has been encoded.

    Args:
        options: as `AutomaticOptions.resolve` returns them for the model.
        size: of the mask; None: the image's own.
    """
    proposals = Proposals(model)
    batch = min(model.max_batch, BATCH)
    grid, search = options.grid(embedding.size), Search(embedding.size, options)
    for prompts in batches(grid, batch):
        search.add(prompts, proposals.decode(embedding, prompts))
    chosen = search.choose()
    layers = Layers(size or embedding.size, options.min_area, len(chosen))
    for part in batches(chosen, batch):
        layers.paint(part, model.decode(embedding, [each.prompt for each in part]))
    return Segmentation((layers.mask(),), Usage(embedding.tokens, len(grid), search.decoded))


@dataclass(frozen=True)
class Proposals:
    """Decodes the points of a grid.

    A model has a method `propose`, called as `decode` is, if it has a faster way to candidates that are good enough to
    choose from. They are in the order in which `decode` answers them.
    """

    model: Model

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def max_batch(self) -> int:
        return self.model.max_batch

    def decode(
        self,
        embedding: Embedding,
        objects: Sequence[ObjectPrompt],
        earlier: Sequence[Earlier | None] | None = None,
    ) -> list[Candidates]:
        """As `Model.decode`; what was decoded earlier is not used."""
        propose: Callable[[Embedding, Sequence[ObjectPrompt]], list[Candidates]]
        propose = getattr(self.model, "propose", self.model.decode)
        return propose(embedding, objects)


def batches(items: Sequence[Item], length: int) -> list[Sequence[Item]]:
    """The items, at most so many at a time."""
    return [items[start : start + length] for start in range(0, len(items), length)]


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


def _without_small_holes(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    # With an edge, so that all that surrounds the object is one part, which stays.
    background = np.pad(~mask, 1, constant_values=True)
    labels, small = _small_parts(background, min_area)
    small[labels[0, 0]] = False
    return mask | small[labels][1:-1, 1:-1]


def _without_small_parts(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    labels, small = _small_parts(mask, min_area)
    return mask & ~small[labels]


def _small_parts(mask: NDArray[np.bool_], min_area: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Labels of the mask's connected parts, int32 [rows, columns], and for each label whether it has fewer pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    small: NDArray[np.bool_] = stats[:, cv2.CC_STAT_AREA] < min_area
    # Label 0 is what lies outside the mask.
    small[0] = False
    return labels.astype(np.int32, copy=False), small
