"""The prompt of `maskery segment`: options to the fields of a request, and messages about it back to options."""

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maskery.cli.files import read_file
from maskery.engine import Prompt
from maskery.errors import UserError
from maskery.segmentation import AutomaticOptions, Size
from maskery.segmentation.messages import plural

# A field of a request in a message, such as `segment_prompt[0][1]`.
_FIELD = re.compile(r"\b(segment_prompt|point_labels|boxes|mask_prompts|labels(?=\[))\b(?:\[(\d+)\])?(?:\[(\d+)\])?")

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class PromptOptions:
    """A prompt, and how its user wrote it.

    Attributes:
        prompt: the fields of a request, or how everything in the image is found.
        objects: for each object its --object option as written, or its place in a file of prompts; empty for the
            object of --point and --box.
    """

    prompt: Prompt | AutomaticOptions
    objects: tuple[str, ...]

    def explain(self, message: str) -> str:
        """A message about the fields of a request, in terms of the options."""
        return _FIELD.sub(self._name, message.replace("automatic.points_per_side", "--points-per-side"))

    def _name(self, match: re.Match[str]) -> str:
        field, index, point = match.groups()
        if field == "mask_prompts":
            return "--mask-prompt"
        if index is None:
            return "the prompt"
        option = self.objects[int(index)]
        if field == "labels":
            return f"the label of {option}" if option else f"--label {int(index) + 1}"
        if field == "boxes":
            return f"the box of {option}" if option else "--box"
        points = f"the points of {option}" if option else "--point"
        if field == "point_labels":
            return f"the labels of {points}"
        return f"point {int(point) + 1} of {option or points}" if point else points


def place(prompt: Prompt, size: Size, relative: bool) -> Prompt:
    """The prompt of an image of this size. Boxes are clipped to the image, as those of datasets exceed it by rounding.

    Args:
        relative: whether coordinates are fractions of the image's sides, 0 to 1.

    Raises:
        UserError: a relative coordinate is not between 0 and 1, or a box is outside the image; with the field's path.
    """
    sides = (size.width, size.height)

    def scale(values: Sequence[float], path: str) -> list[float]:
        if not relative:
            return list(values)
        if wrong := next((value for value in values if not 0 <= value <= 1), None):
            raise UserError(f"{path} has the coordinate {wrong:g}; with --relative, coordinates are between 0 and 1.")
        return [value * sides[index % 2] for index, value in enumerate(values)]

    def clip(box: list[float], path: str) -> list[float]:
        clipped = [min(max(value, 0), sides[index % 2]) for index, value in enumerate(box)]
        if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
            shown = ", ".join(f"{value:g}" for value in box)
            raise UserError(f"{path} is [{shown}], without an area in the image, which is {size}.")
        return clipped

    def move(point: Sequence[float], path: str) -> list[float]:
        placed = scale(point, path)
        # The right and the lower side of the image belong to its last pixels.
        return [min(value, side - 1) for value, side in zip(placed, sides, strict=True)] if relative else placed

    return replace(
        prompt,
        segment_prompt=[
            [move(point, f"segment_prompt[{index}][{number}]") for number, point in enumerate(points)]
            for index, points in enumerate(prompt.segment_prompt)
        ],
        boxes=[
            clip(scale(box, f"boxes[{index}]"), f"boxes[{index}]") if box else None
            for index, box in enumerate(prompt.boxes)
        ],
    )


def read_prompt(
    points: Sequence[str], box: str | None, mask: Path | None, objects: Sequence[str], labels: Sequence[str] = ()
) -> PromptOptions:
    """The prompt of the options.

    Args:
        points: of the first object, each ``X,Y`` or ``X,Y,0``.
        box: of the first object, ``X0,Y0,X1,Y1``.
        mask: PNG file of the first object's mask prompt.
        objects: further objects, each with points and at most one box, separated by spaces.
        labels: of the objects, in order; none, or one for each.

    Raises:
        UserError: an option is malformed, no object is given, or the mask's file cannot be read.
    """
    first = [[*points, *([box] if box else [])]] if points or box or mask else []
    groups = [[_read_numbers(text) for text in group] for group in [*first, *map(str.split, objects)]]
    if not groups or not all(groups[bool(mask) :]):
        raise UserError("give an object to segment: --point X,Y, --box X0,Y0,X1,Y1, or --object with points or a box.")
    if labels and len(labels) != len(groups):
        raise UserError(
            f"{plural(len(labels), '--label')} for {plural(len(groups), 'object')}: name each of them, in order."
        )
    if empty := next((number for number, label in enumerate(labels, start=1) if not label.strip()), 0):
        raise UserError(f"--label {empty} is empty: name each object, or leave out --label.")
    corners = [[each for each in group if len(each) == 4] for group in groups]
    if any(len(boxes) > 1 for boxes in corners):
        raise UserError("an object has at most one box.")
    dots = [[each for each in group if len(each) < 4] for group in groups]
    prompt = Prompt(
        segment_prompt=[[[x, y] for x, y, *_ in group] for group in dots],
        point_labels=[[int(label[0]) if label else 1 for _, _, *label in group] for group in dots],
        boxes=[boxes[0] if boxes else None for boxes in corners],
        mask_prompts=[_read_mask(mask), *[None] * len(objects)] if mask else None,
        labels=list(labels) or None,
    )
    return PromptOptions(prompt, (*[""] * len(first), *(f'--object "{text}"' for text in objects)))


def _read_numbers(text: str) -> list[float]:
    """A point [x, y], a labelled point [x, y, label] or a box [x0, y0, x1, y1]."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    is_valid = len(numbers) in (2, 4) or (len(numbers) == 3 and numbers[2] in (0, 1))
    if not (is_valid and all(map(math.isfinite, numbers))):
        raise UserError(
            f"{text!r} is not a point or a box: write X,Y for a point on the object, X,Y,0 for a point outside it, or "
            "X0,Y0,X1,Y1 for a box."
        )
    return numbers


def _read_mask(path: Path) -> str:
    data = read_file(path)
    if not data.startswith(_PNG):
        raise UserError(f"--mask-prompt {path} is not a PNG file.")
    return base64.b64encode(data).decode("ascii")
