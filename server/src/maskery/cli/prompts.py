"""What the command line says of objects, as the fields of a request."""

import base64
from pathlib import Path
from typing import Any

from maskery.cli.errors import CommandError


def read_prompt(points: list[str], box: str | None, mask: Path | None, objects: list[str]) -> dict[str, Any]:
    """Fields segment_prompt, point_labels, boxes and mask_prompts.

    Args:
        points: of the first object, each ``X,Y`` or ``X,Y,0``.
        box: of the first object, ``X0,Y0,X1,Y1``.
        mask: PNG that the first object starts from.
        objects: further objects, each with its points and at most one box separated by spaces.

    Raises:
        CommandError: something is not a point or a box, or nothing was asked for.
    """
    first = [*points, box] if box else points
    texts = [first] if first or mask else []
    texts += [text.split() for text in objects]
    if not (texts and all(texts[1:] if mask else texts)):
        raise CommandError("say what to segment: --point X,Y, or --box X0,Y0,X1,Y1, or --object with its points.")
    entries = [[_read_numbers(text) for text in group] for group in texts]
    points_of = [[entry for entry in group if len(entry) < 4] for group in entries]
    boxes_of = [[entry for entry in group if len(entry) == 4] for group in entries]
    if any(len(boxes) > 1 for boxes in boxes_of):
        raise CommandError("an object has one box at most.")
    return {
        "segment_prompt": [[entry[:2] for entry in group] for group in points_of],
        "point_labels": [[int(entry[2]) if len(entry) == 3 else 1 for entry in group] for group in points_of],
        "boxes": [boxes[0] if boxes else None for boxes in boxes_of],
        "mask_prompts": [_read_mask(mask), *[None] * len(objects)] if mask else None,
    }


def _read_numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3, 4) or (len(numbers) == 3 and numbers[2] not in (0, 1)):
        raise CommandError(
            f"{text!r} is not a point or a box: write X,Y, or X,Y,0 for a point that is not on the object, or "
            "X0,Y0,X1,Y1 for a box."
        )
    return numbers


def _read_mask(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}.") from None
