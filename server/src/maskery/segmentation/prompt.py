"""Parses and validates prompts: for each object points with labels, a box, a mask.

Invalid input raises `PromptError` with the path of the field as clients write it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.errors import PromptError
from maskery.segmentation.image import Size
from maskery.segmentation.mask_prompt import read_mask_prompt
from maskery.segmentation.messages import exact, kind, plural, show

_NESTING = "segment_prompt is a list of objects, each a list of points [x, y]: [[[450, 600]]] asks for one object"


@dataclass(frozen=True, eq=False)
class ObjectPrompt:
    """The prompt of one object.

    Attributes:
        points: float32 [points, 2], (x, y) in pixels of the upright image; may be empty.
        labels: uint8 [points], 1 = on the object, 0 = not on it.
        box: float32 [4], (x0, y0, x1, y1) in the same pixels, or None.
        mask: bool [height, width] of the upright image, or None.
        name: the label of the object's segment, or None. It does not affect the mask.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.uint8]
    box: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    name: str | None = None

    @property
    def tokens(self) -> int:
        """Number of points and box corners."""
        return len(self.points) + (2 if self.box is not None else 0)

    @property
    def is_ambiguous(self) -> bool:
        """Whether the prompt is a single point, which may mean a part, the object, or what it belongs to."""
        return len(self.points) == 1 and self.box is None and self.mask is None


@dataclass(frozen=True)
class PromptLimits:
    """Limits on the prompt of one request.

    Attributes:
        max_objects: number of objects.
        max_points: number of points of all objects together.
        max_mask_pixels: number of pixels of all mask prompts together.
        max_label: number of characters of an object's label.
    """

    max_objects: int = 512
    max_points: int = 2048
    max_mask_pixels: int = 256_000_000
    max_label: int = 128

    @property
    def max_text(self) -> int:
        """Number of characters of a prompt sent as JSON text, with room for indentation."""
        return 256 * self.max_points + 64 * self.max_objects


def parse_prompt(
    segment_prompt: Any,
    size: Size,
    point_labels: Any = None,
    boxes: Any = None,
    mask_prompts: Any = None,
    labels: Any = None,
    limits: PromptLimits | None = None,
) -> tuple[ObjectPrompt, ...]:
    """Validate a prompt as it was sent.

    Args:
        segment_prompt: per object a list of points ``[x, y]``; or JSON text that contains it; or None if boxes or
            masks are given.
        size: of the upright image that the coordinates refer to.
        point_labels: per object and point 1 or 0; None (also per object) means all 1.
        boxes: per object ``[x0, y0, x1, y1]`` or None.
        mask_prompts: per object a COCO RLE, a base64 PNG or None.
        labels: per object text that names it, or None.
        limits: on the number of objects, points and mask pixels.

    Raises:
        PromptError: the prompt is invalid; the error has the path of the field.
    """
    limits = limits or PromptLimits()
    if isinstance(segment_prompt, str):
        segment_prompt = _from_json_text(segment_prompt, limits)
    count = _count_objects(segment_prompt, boxes, mask_prompts, limits)
    groups = _per_object(segment_prompt, "segment_prompt", count)
    point_groups = _per_object(point_labels, "point_labels", count)
    corners = _per_object(boxes, "boxes", count)
    masks = _per_object(mask_prompts, "mask_prompts", count)
    names = _per_object(labels, "labels", count)
    _check_point_count(groups, limits)
    _check_mask_pixels(masks, size, limits)
    return tuple(
        _parse_object(
            index,
            groups[index],
            point_groups[index],
            corners[index],
            masks[index],
            _parse_name(names[index], f"labels[{index}]", limits),
            size,
        )
        for index in range(count)
    )


def _from_json_text(text: str, limits: PromptLimits) -> Any:
    if len(text) > limits.max_text:
        raise PromptError(
            f"segment_prompt is text of {len(text):,} characters; at most {limits.max_text:,} are accepted",
            "segment_prompt",
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise PromptError(f"segment_prompt is text but not JSON; {_NESTING}", "segment_prompt") from None


def _count_objects(segment_prompt: Any, boxes: Any, mask_prompts: Any, limits: PromptLimits) -> int:
    for name, value in (("segment_prompt", segment_prompt), ("boxes", boxes), ("mask_prompts", mask_prompts)):
        if value is None:
            continue
        if not isinstance(value, list):
            reason = _NESTING if name == "segment_prompt" else f"{name} is a list with an entry per object"
            raise PromptError(f"{name} is {kind(value)}; {reason}", name)
        if not value:
            spare = ", or leave it out and give boxes or mask_prompts" if name == "segment_prompt" else ""
            raise PromptError(f"{name} is empty: give at least one object{spare}", name)
        if len(value) > limits.max_objects:
            raise PromptError(f"{name} holds {len(value):,} objects; at most {limits.max_objects:,} are accepted", name)
        return len(value)
    raise PromptError(f"segment_prompt is missing; {_NESTING}", "segment_prompt")


def _per_object(value: Any, name: str, count: int) -> list[Any]:
    if value is None:
        return [None] * count
    if not isinstance(value, list):
        raise PromptError(f"{name} is {kind(value)}; it is a list with an entry (or null) per object", name)
    if len(value) != count:
        raise PromptError(
            f"{name} has {plural(len(value), 'entry', 'entries')} for {plural(count, 'object')}: "
            f"give {'one box [x0, y0, x1, y1]' if name == 'boxes' else 'one'} (or null) per object",
            name,
        )
    return value


def _check_point_count(groups: Sequence[Any], limits: PromptLimits) -> None:
    points = sum(len(group) for group in groups if isinstance(group, list))
    if points > limits.max_points:
        raise PromptError(
            f"segment_prompt holds {points:,} points; at most {limits.max_points:,} are accepted",
            "segment_prompt",
        )


def _check_mask_pixels(masks: Sequence[Any], size: Size, limits: PromptLimits) -> None:
    count = sum(mask is not None for mask in masks)
    if count * size.pixels > limits.max_mask_pixels:
        raise PromptError(
            f"mask_prompts are {count:,} masks of {size.pixels:,} pixels each; at most {limits.max_mask_pixels:,} "
            "pixels together are accepted",
            "mask_prompts",
        )


def _parse_object(
    index: int, group: Any, labels: Any, box: Any, mask: Any, name: str | None, size: Size
) -> ObjectPrompt:
    path = f"segment_prompt[{index}]"
    points = _parse_points(group, path, size)
    parsed_labels = _parse_labels(labels, f"point_labels[{index}]", len(points))
    parsed_box = None if box is None else _parse_box(box, f"boxes[{index}]", size)
    parsed_mask = None if mask is None else read_mask_prompt(mask, f"mask_prompts[{index}]", size)
    if parsed_box is None and parsed_mask is None:
        if not len(points):
            raise PromptError(f"{path} is empty: give object {index} a point, a box or a mask", path)
        if not parsed_labels.any():
            raise PromptError(
                f"point_labels[{index}] are all 0: an object needs a point labelled 1, a box or a mask",
                f"point_labels[{index}]",
            )
    return ObjectPrompt(points, parsed_labels, parsed_box, parsed_mask, name)


def _parse_name(label: Any, path: str, limits: PromptLimits) -> str | None:
    if label is None:
        return None
    if not isinstance(label, str):
        raise PromptError(f"{path} is {kind(label)}; a label is text that names the object, or null", path)
    if not label.strip():
        raise PromptError(f"{path} is empty: name the object, or send null", path)
    if len(label) > limits.max_label:
        raise PromptError(f"{path} has {len(label):,} characters; a label has at most {limits.max_label:,}", path)
    return label


def _parse_points(group: Any, path: str, size: Size) -> NDArray[np.float32]:
    if group is None:
        return np.empty((0, 2), np.float32)
    if not isinstance(group, list):
        raise PromptError(f"{path} is {kind(group)}; {_NESTING}", path)
    points = np.empty((len(group), 2), np.float32)
    for index, point in enumerate(group):
        points[index] = _parse_point(point, f"{path}[{index}]", size)
    # Rounding to single precision could move a point from just inside the last pixel onto its edge.
    return np.minimum(points, np.nextafter(np.array([size.width, size.height], np.float32), np.float32(0)))


def _parse_point(point: Any, path: str, size: Size) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != 2:
        found = f"has {plural(len(point), 'entry', 'entries')}" if isinstance(point, list) else f"is {kind(point)}"
        raise PromptError(f"{path} {found}, not two numbers [x, y]; {_NESTING}", path)
    x, y = _number(point[0], f"{path}[0]"), _number(point[1], f"{path}[1]")
    if not (0 <= x < size.width and 0 <= y < size.height):
        raise PromptError(
            f"{path} is ({exact(x)}, {exact(y)}), outside the image, which is {size.width} wide and {size.height} "
            f"high: x is from 0 to below {size.width}, y from 0 to below {size.height}",
            path,
        )
    return x, y


def _parse_labels(labels: Any, path: str, count: int) -> NDArray[np.uint8]:
    if labels is None:
        return np.ones(count, np.uint8)
    if not isinstance(labels, list):
        raise PromptError(f"{path} is {kind(labels)}; it is a list of 1 (on the object) and 0 (not on it)", path)
    if len(labels) != count:
        found = f"{plural(len(labels), 'label')} for {plural(count, 'point')}"
        raise PromptError(f"{path} has {found}: give one per point", path)
    for index, label in enumerate(labels):
        if isinstance(label, bool) or label not in (0, 1):
            raise PromptError(
                f"{path}[{index}] is {show(label)}; a label is 1 (on the object) or 0 (not on it)",
                f"{path}[{index}]",
            )
    return np.array(labels, np.uint8)


def _parse_box(box: Any, path: str, size: Size) -> NDArray[np.float32]:
    if not isinstance(box, list) or len(box) != 4:
        found = f"has {plural(len(box), 'entry', 'entries')}" if isinstance(box, list) else f"is {kind(box)}"
        raise PromptError(f"{path} {found}; boxes is a list of one box [x0, y0, x1, y1] (or null) per object", path)
    corners = [_number(value, f"{path}[{index}]") for index, value in enumerate(box)]
    shown = f"[{', '.join(map(exact, corners))}]"
    # Boxes of annotations are often rounded outwards, or end at a pixel's index plus one.
    if min(corners) < -1 or max(corners[0::2]) > size.width + 1 or max(corners[1::2]) > size.height + 1:
        raise PromptError(
            f"{path} is {shown}, more than a pixel outside the image, which is {size.width} wide and {size.height} "
            f"high: x is from 0 to {size.width}, y from 0 to {size.height}",
            path,
        )
    parsed = np.array(corners, np.float32).clip(0, [*size, *size])
    # Compared in the precision in which it is used, so that rounding cannot make it empty afterwards.
    if not (parsed[:2] < parsed[2:]).all():
        raise PromptError(
            f"{path} is {shown}; a box is [x0, y0, x1, y1] with x0 < x1 and y0 < y1 within the image, "
            f"{size.width} wide and {size.height} high",
            path,
        )
    return parsed


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PromptError(f"{path} is {show(value)}; a coordinate is a number, in pixels", path)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise PromptError(f"{path} is {number}; a coordinate is a finite number, in pixels", path)
    return number
