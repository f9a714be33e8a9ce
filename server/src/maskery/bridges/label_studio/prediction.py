"""A request for a prediction: the task, and the regions that an annotator has drawn with smart tools."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from maskery.bridges.label_studio import brush
from maskery.bridges.label_studio.configuration import Output
from maskery.bridges.prompts import to_prompt
from maskery.engine import Prompt
from maskery.segmentation import ObjectPrompt, PromptError, PromptLimits, Size, rle

# Percent, or degrees: more than any region has, and few enough to calculate with.
_FAR = 1e6


class Task(BaseModel):
    """A task; its annotations, which Label Studio sends as well, are not read."""

    id: int | None = None
    data: dict[str, Any]


class Region(BaseModel):
    """A region. Coordinates are percentages of the image's width and height."""

    type: str
    value: dict[str, Any]
    to_name: str | None = None
    is_positive: bool | None = None
    image_rotation: float = 0

    @property
    def kind(self) -> str:
        return self.type.removesuffix("labels")

    @property
    def labels(self) -> tuple[str, ...]:
        found = self.value.get(self.type) or self.value.get("labels") or []
        return tuple(map(str, found)) if isinstance(found, list) else ()


class Context(BaseModel):
    """What the annotator has drawn."""

    result: list[Region] = []


class Params(BaseModel):
    """Parameters; the context is None when predictions for whole tasks are requested."""

    context: Context | None = None


class Setup(BaseModel):
    """What Label Studio sends when a project is connected; the address and token of its own are not used."""

    configuration: str = Field("", alias="schema")


class Prediction(BaseModel):
    """A request for predictions."""

    tasks: list[Task]
    label_config: str = ""
    params: Params = Params()

    @property
    def regions(self) -> list[Region]:
        return self.params.context.result if self.params.context else []

    def image(self, field: str) -> tuple[str, int | None]:
        """Where the image of the task is, and the task's id.

        Args:
            field: of the task's data that has the image.

        Raises:
            PromptError: there is no task, or the field has no image.
        """
        if not self.tasks:
            raise PromptError("tasks is empty; a prediction is for one task", "tasks")
        task = self.tasks[0]
        source = task.data.get(field)
        if not isinstance(source, str) or not source:
            raise PromptError(f"tasks[0].data has no image in the field {field!r}", f"tasks[0].data.{field[:80]}")
        return source, task.id


@dataclass
class Group:
    """The regions of one label: one object, or one per rectangle.

    Attributes:
        labels: usually one.
        points: regions; a region's place is a point.
        rectangles: regions.
        brushes: regions.
    """

    labels: tuple[str, ...]
    points: list[Region] = field(default_factory=list)
    rectangles: list[Region] = field(default_factory=list)
    brushes: list[Region] = field(default_factory=list)

    @property
    def objects(self) -> int:
        return max(1, len(self.rectangles))


@dataclass(frozen=True)
class RegionPrompt(Prompt):
    """A prompt in percent, which becomes one in pixels when the image's size is known."""

    segment_prompt: Any = None
    groups: Sequence[Group] = ()

    @classmethod
    def of(cls, regions: Sequence[Region], output: Output) -> "RegionPrompt":
        """The prompt of regions, grouped by label.

        Raises:
            PromptError: a region is of another kind, or the control that receives the masks lacks its label.
        """
        groups: dict[tuple[str, ...], Group] = {}
        for index, region in enumerate(regions):
            path = f"context.result[{index}]"
            group = groups.setdefault(region.labels, Group(region.labels))
            lists = {"keypoint": group.points, "rectangle": group.rectangles, "brush": group.brushes}
            if region.kind not in lists:
                message = f"{path} is a region of the type {region.type!r}; keypoints, rectangles and brushes are used"
                raise PromptError(message, path)
            missing = [label for label in region.labels if output.labels and label not in output.labels]
            if missing:
                message = f"{path} has the label {missing[0]!r}, which {output.name!r} in the configuration lacks"
                raise PromptError(message, path)
            lists[region.kind].append(region)
        return cls(groups=tuple(groups.values()))

    @property
    def labels_by_object(self) -> list[tuple[str, ...]]:
        """The labels of every object."""
        return [group.labels for group in self.groups for _ in range(group.objects)]

    def check(self, size: Size, limits: PromptLimits) -> tuple[ObjectPrompt, ...]:
        parts = [_in_pixels(group, size) for group in self.groups]
        merged = {
            name: [each for part in parts for each in getattr(part, name) or [None] * len(part.segment_prompt)]
            for name in ("segment_prompt", "point_labels", "boxes", "mask_prompts")
        }
        return Prompt(**merged).check(size, limits)


def _in_pixels(group: Group, size: Size) -> Prompt:
    points = [_point(region, size) for region in group.points]
    # Label Studio sends `is_positive` for every smart keypoint.
    labels = [int(region.is_positive is not False) for region in group.points]
    prompt = to_prompt(points, labels, [_box(region, size) for region in group.rectangles])
    masks = [_mask(region, size) for region in group.brushes]
    if not masks:
        return prompt
    union = rle.encode(np.logical_or.reduce(masks), (0, 0), size)
    return Prompt(prompt.segment_prompt, prompt.point_labels, prompt.boxes, [dict(union)] * group.objects)


def _point(region: Region, size: Size) -> list[float]:
    x, y = _numbers(region, ("x", "y"))
    return [_inside(x * size.width / 100, size.width), _inside(y * size.height / 100, size.height)]


def _inside(value: float, limit: int) -> float:
    """A coordinate; 100 % is the end of the last pixel, which is in the image."""
    return min(value, math.nextafter(limit, 0)) if value <= limit else value


def _box(region: Region, size: Size) -> list[float]:
    """The bounding box of a rectangle, which may be turned around its top left corner."""
    x, y, width, height = _numbers(region, ("x", "y", "width", "height"))
    (turn,) = _numbers(region, ("rotation",)) if "rotation" in region.value else (0.0,)
    x, width = x * size.width / 100, width * size.width / 100
    y, height = y * size.height / 100, height * size.height / 100
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    corners = [(a * cos - b * sin, a * sin + b * cos) for a in (0, width) for b in (0, height)]
    left, top = (min(axis) for axis in zip(*corners, strict=True))
    right, bottom = (max(axis) for axis in zip(*corners, strict=True))
    return [
        max(0.0, x + left),
        max(0.0, y + top),
        min(float(size.width), x + right),
        min(float(size.height), y + bottom),
    ]


def _mask(region: Region, size: Size) -> Any:
    data = region.value.get("rle")
    try:
        mask = brush.decode(bytes(data), size.pixels) if isinstance(data, list) else None
    except (ValueError, TypeError) as error:
        raise PromptError(f"the brush {error}", "context.result") from None
    if mask is None:
        raise PromptError("the brush has no list of bytes `rle`", "context.result")
    return mask.reshape(size.height, size.width)


def _numbers(region: Region, names: Sequence[str]) -> Iterator[float]:
    for name in names:
        value = region.value.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FAR:
            raise PromptError(f"the {region.kind} has no number {name!r}", "context.result")
        yield float(value)
