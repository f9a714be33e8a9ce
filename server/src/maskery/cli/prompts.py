"""The prompt of `maskery segment`: options to the fields of a request, and messages about it back to options."""

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskery.cli.files import read_file
from maskery.engine import Prompt
from maskery.errors import UserError

# A field of a request in a message, such as `segment_prompt[0][1]`.
_PATH = re.compile(r"\b(segment_prompt|point_labels|boxes|mask_prompts)((?:\[\d+\])*)")

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class PromptOptions:
    """A prompt, and how its user wrote it.

    Attributes:
        prompt: the fields of a request.
        names: paths of fields, such as ``segment_prompt[0][1]``, to the options they come from.
    """

    prompt: Prompt
    names: dict[str, str]

    def explain(self, message: str) -> str:
        """A message about the fields of a request, in terms of the options."""
        return _PATH.sub(self._name, message)

    def _name(self, match: re.Match[str]) -> str:
        path, inner = match[0], ""
        while path not in self.names and path.endswith("]"):
            path, _, index = path.rpartition("[")
            inner = f"[{index}{inner}"
        return self.names.get(path, "the prompt") + inner


def read_prompt(points: Sequence[str], box: str | None, mask: Path | None, objects: Sequence[str]) -> PromptOptions:
    """The prompt of the options.

    Args:
        points: of the first object, each ``X,Y`` or ``X,Y,0``.
        box: of the first object, ``X0,Y0,X1,Y1``.
        mask: PNG file of the first object's mask prompt.
        objects: further objects, each with points and at most one box, separated by spaces.

    Raises:
        UserError: an option is malformed, no object is given, or the mask's file cannot be read.
    """
    groups = [_Group("", [*points, *([box] if box else [])])] if points or box or mask else []
    groups += [_Group(f'--object "{text}"', text.split()) for text in objects]
    if not groups or not all(group.entries for group in groups[bool(mask) :]):
        raise UserError("give an object to segment: --point X,Y, --box X0,Y0,X1,Y1, or --object with points or a box.")
    prompt = Prompt(
        segment_prompt=[[point[:2] for point in group.points] for group in groups],
        point_labels=[[int(point[2]) if len(point) == 3 else 1 for point in group.points] for group in groups],
        boxes=[group.box for group in groups],
        mask_prompts=[_read_mask(mask), *[None] * len(objects)] if mask else None,
    )
    names = {"mask_prompts": "--mask-prompt", "mask_prompts[0]": f"--mask-prompt {mask}"}
    for index, group in enumerate(groups):
        names |= group.names(index)
    return PromptOptions(prompt, names)


class _Group:
    """One object.

    Args:
        option: the option with all its entries; empty where every entry is an option of its own.
        entries: points and at most one box.
    """

    def __init__(self, option: str, entries: Sequence[str]) -> None:
        self.option, self.entries = option, entries
        numbers = [_read_numbers(entry) for entry in entries]
        self.points = [each for each in numbers if len(each) < 4]
        boxes = [each for each in numbers if len(each) == 4]
        if len(boxes) > 1:
            raise UserError(f"an object has at most one box{f', not {len(boxes)}: {option}' if option else ''}.")
        self.box = boxes[0] if boxes else None

    def names(self, index: int) -> dict[str, str]:
        """Paths of the object's fields to its options."""
        of = f" of {self.option}" if self.option else ""
        points = f"the points{of}" if self.option else "--point"
        names = {f"boxes[{index}]": f"the box{of}" if of else "--box", f"segment_prompt[{index}]": points}
        names[f"point_labels[{index}]"] = f"the labels of {points}"
        for place in range(len(self.points)):
            several = len(self.points) > 1
            names[f"segment_prompt[{index}][{place}]"] = (
                f"point {place + 1} of {self.option or points}" if (several or self.option) else points
            )
        return names


def _read_numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if (
        len(numbers) not in (2, 3, 4)
        or not all(map(math.isfinite, numbers))
        or (len(numbers) == 3 and numbers[2] not in (0, 1))
    ):
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
