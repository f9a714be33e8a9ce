"""Files with the prompts of many images: CSV, JSON lines, or COCO."""

import csv
import difflib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from maskery.cli.files import read_file
from maskery.cli.prompts import PromptOptions
from maskery.engine import Prompt
from maskery.errors import UserError

_COLUMNS = ("image", "object", "x", "y", "positive", "x0", "y0", "x1", "y1", "label")
_BOX = ("x0", "y0", "x1", "y1")
_FIELDS = ("points", "box", "label")

_READERS = "a CSV file (.csv), JSON lines (.jsonl) or COCO (.json)"


@dataclass
class _Object:
    """An object as a file has it.

    Attributes:
        where: the file and the place in it, for messages.
        points: each [x, y, 1 or 0].
    """

    where: str
    points: list[list[float]] = field(default_factory=list)
    box: list[float] | None = None
    label: str | None = None


def read_prompts(path: Path) -> dict[str, PromptOptions]:
    """The prompt of each image, by the name of its file.

    - CSV, a row per point or box, with the columns `image`, `x`, `y`, `positive` (1, the default, or 0), `x0`, `y0`,
      `x1`, `y1`, `label` and `object`: rows of an image with the same `object` describe one object, other rows one
      each.
    - JSON lines, each `{"image": name, "objects": [...]}`; an object is
      `{"points": [[x, y], [x, y, 0]], "box": [x0, y0, x1, y1], "label": text}`.
    - COCO: the boxes of the annotations, with the names of their categories. Annotations of crowds are left out.

    Raises:
        UserError: with the line of the file that is wrong.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_json_lines, ".json": _read_coco}
    reader = readers.get(path.suffix.lower())
    if not reader:
        raise UserError(f"--prompts {path}: name {_READERS}.")
    try:
        text = read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"--prompts {path} is not text in UTF-8.") from None
    images: dict[str, list[_Object]] = {}
    for name, found in reader(path.name, text):
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise UserError(f"{found.where} names {name}, which is not in the folder of the images.")
        images.setdefault(name, []).append(found)
    if not images:
        raise UserError(f"--prompts {path} has no prompts.")
    return {name: _to_options(objects) for name, objects in images.items()}


def _read_csv(file: str, text: str) -> Iterator[tuple[str, _Object]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, restkey="…")
    columns = [column.strip() for column in reader.fieldnames or []]
    reader.fieldnames = columns
    for column in columns:
        if column not in _COLUMNS:
            raise UserError(f"{file} has a column {column!r}.{_suggest(column, _COLUMNS)}")
    if "image" not in columns:
        raise UserError(f"{file} lacks the column image; the first line names the columns: {', '.join(_COLUMNS)}.")
    named: dict[tuple[str, str], _Object] = {}
    for row in reader:
        where = f"{file}, line {reader.line_num}"
        if "…" in row or None in row.values():
            raise UserError(f"{where} has not {len(columns)} values, as the first line has.")
        given = {column: value.strip() for column, value in row.items() if value.strip()}
        name = given.get("image")
        if not name:
            raise UserError(f"{where} names no image.")
        group = given.get("object")
        found = named.get((name, group)) if group else None
        if not found:
            found = _Object(where)
            yield name, found
        if group:
            named[name, group] = found
        _add_row(found, given, where)


def _add_row(found: _Object, row: Mapping[str, str], where: str) -> None:
    has_point, corners = "x" in row or "y" in row, [column for column in _BOX if column in row]
    if not has_point and not corners:
        raise UserError(f"{where} has neither a point (x, y) nor a box (x0, y0, x1, y1).")
    if has_point:
        positive = row.get("positive", "1")
        if positive not in ("0", "1"):
            raise UserError(
                f"{where}: positive is {positive!r}; write 1 for a point on the object, 0 for one outside it."
            )
        found.points.append([*_numbers([row.get("x", ""), row.get("y", "")], ("x", "y"), where), float(positive)])
    if corners:
        if found.box:
            raise UserError(f"{where}: the object has a box already.")
        found.box = _numbers([row.get(column, "") for column in _BOX], _BOX, where)
    if "label" in row:
        if found.label not in (None, row["label"]):
            raise UserError(f"{where}: the object is labelled {found.label!r} already.")
        found.label = row["label"]


def _read_json_lines(file: str, text: str) -> Iterator[tuple[str, _Object]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        value = _parse(line, where)
        if not isinstance(value, dict) or not isinstance(value.get("image"), str) or not value["image"]:
            raise UserError(f'{where} is not an object with "image" and "objects".')
        for key in value:
            if key not in ("image", "objects"):
                raise UserError(f"{where} has a field {key!r}.{_suggest(key, ('image', 'objects'))}")
        objects = value.get("objects")
        if not isinstance(objects, list) or not objects:
            raise UserError(f"{where}: objects is a list with an object at least.")
        for index, each in enumerate(objects, start=1):
            yield value["image"], _read_object(each, f"{where}, object {index}")


def _read_object(value: Any, where: str) -> _Object:
    if not isinstance(value, dict):
        raise UserError(f"{where} is not an object with points, a box or both.")
    for key in value:
        if key not in _FIELDS:
            raise UserError(f"{where} has a field {key!r}.{_suggest(key, _FIELDS)}")
    found = _Object(where)
    points, box, label = value.get("points") or [], value.get("box"), value.get("label")
    for point in points if isinstance(points, list) else [None]:
        if not isinstance(point, list) or len(point) not in (2, 3) or (len(point) == 3 and point[2] not in (0, 1)):
            raise UserError(f"{where}: points is a list of [x, y], or [x, y, 0] for a point outside the object.")
        found.points.append([*_numbers(point[:2], ("x", "y"), where), float(point[2]) if len(point) == 3 else 1.0])
    if box is not None:
        if not isinstance(box, list) or len(box) != 4:
            raise UserError(f"{where}: box is [x0, y0, x1, y1].")
        found.box = _numbers(box, _BOX, where)
    if not found.points and not found.box:
        raise UserError(f"{where} has neither points nor a box.")
    if label is not None and not isinstance(label, str):
        raise UserError(f"{where}: label is a text.")
    found.label = label
    return found


def _read_coco(file: str, text: str) -> Iterator[tuple[str, _Object]]:
    value = _parse(text, file)
    try:
        images = {each["id"]: str(each["file_name"]) for each in value["images"]}
        names = {each["id"]: str(each["name"]) for each in value.get("categories", [])}
        annotations = list(value["annotations"])
    except (KeyError, TypeError, AttributeError):
        raise UserError(f'{file} has no lists "images" and "annotations", as COCO files have.') from None
    for annotation in annotations:
        where = f"{file}, annotation {annotation.get('id')}"
        if annotation.get("iscrowd"):
            continue
        box, image = annotation.get("bbox"), images.get(annotation.get("image_id"))
        if image is None:
            raise UserError(f"{where} is of an image that the file does not list.")
        if not isinstance(box, list) or len(box) != 4:
            raise UserError(f"{where} has no bbox [x, y, width, height].")
        x, y, width, height = _numbers(box, ("x", "y", "width", "height"), where)
        yield image, _Object(where, [], [x, y, x + width, y + height], names.get(annotation.get("category_id")))


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not valid JSON: {error}.") from None


def _numbers(values: Iterable[Any], names: Iterable[str], where: str) -> list[float]:
    numbers = []
    for value, name in zip(values, names, strict=True):
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{where}: {name} is {value!r}, not a number.")
        numbers.append(number)
    return numbers


def _suggest(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), 1)
    return f" Did you mean {nearest[0]}?" if nearest else f" Known are {', '.join(known)}."


def _to_options(objects: list[_Object]) -> PromptOptions:
    labels = [each.label for each in objects]
    prompt = Prompt(
        segment_prompt=[[point[:2] for point in each.points] for each in objects],
        point_labels=[[int(point[2]) for point in each.points] for each in objects],
        boxes=[each.box for each in objects],
        labels=labels if any(labels) else None,
    )
    return PromptOptions(prompt, tuple(each.where for each in objects))
