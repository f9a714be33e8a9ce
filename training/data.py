"""What is learned from: photos with masked things, and cut-outs, read from a folder into memory."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

try:
    from pycocotools import mask as coco_mask
except ImportError:  # Where packed data are trained on, no annotations are read.
    coco_mask = None

Bytes = NDArray[np.uint8]

#: How often a source's photos are seen: many that are alike count little.
WEIGHTS = {
    "animals": 5.0,
    "clothing": 5.0,
    "food": 3.5,
    "fruit": 1.0,
    "facades": 0.7,
    "tabletop": 1.0,
    "mushrooms": 0.8,
    "nuclei": 0.3,
}

#: Categories that are the whole of which the source's other masks are parts.
WHOLES = {"clothing": "person", "facades": "facade"}

# Pixels: what is smaller is not asked for.
_LEAST_AREA = 60

#: Things of the facades that are no part of the facade.
_APART = frozenset({"car", "vegetation", "street", "traffic-infrastructure", "fence", "non-building-infrastructure"})


class NoData(FileNotFoundError):  # noqa: N818 - the name states what was found
    """The folder does not hold what is learned from."""


@dataclass(frozen=True, eq=False)
class Thing:
    """A masked thing in a photo.

    Attributes:
        rle: its mask, as pycocotools compresses it.
        box: x, y, width, height in pixels.
        area: in pixels.
        whole: it is not a part of another thing in the photo, as far as the source says.
        parts: indices of the photo's things that are parts of this one.
    """

    rle: dict[str, Any]
    box: tuple[int, int, int, int]
    area: int
    whole: bool = True
    parts: tuple[int, ...] = ()

    def mask(self) -> Bytes:
        """uint8 [height, width], 0 or 1."""
        decoded: Bytes = coco_mask.decode(self.rle)
        return np.ascontiguousarray(decoded)


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo and what is masked in it.

    Attributes:
        name: source/file.
        pixels: uint8 [height, width, 3], RGB.
        things: with masks of the same size.
    """

    name: str
    pixels: Bytes
    things: tuple[Thing, ...]

    @property
    def source(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True, eq=False)
class Library:
    """Everything that is learned from.

    Attributes:
        photos: of all sources.
        cutouts: uint8 [height, width, 4] each, RGBA, cropped to the object.
    """

    photos: list[Photo] = field(default_factory=list)
    cutouts: list[Bytes] = field(default_factory=list)

    def weights(self) -> NDArray[np.float64]:
        """Probability of each photo [photos]."""
        names = [photo.source for photo in self.photos]
        weights = np.array([WEIGHTS.get(name, 1.0) / names.count(name) for name in names])
        weights /= weights.sum()
        return weights


def read_library(data: Path, longest: int = 448) -> Library:
    """Read ``<source>/images``, ``<source>/annotations.json`` and ``cutouts/*/*.webp``.

    Args:
        data: the folder.
        longest: photos are shrunk to at most this many pixels on the longer side.

    Raises:
        NoData: with what is missing.
    """
    if not data.is_dir():
        raise NoData(f"there is no folder {data}; it is to hold <source>/annotations.json with <source>/images/")
    sources = sorted(path.parent for path in data.glob("*/annotations.json"))
    if not sources:
        raise NoData(f"{data} holds no <source>/annotations.json")
    photos = [photo for source in sources for photo in _read_source(source, longest)]
    cutouts = [_read_cutout(path) for path in sorted(data.glob("cutouts/*/*.webp"))]
    return Library(photos, cutouts)


def _read_source(folder: Path, longest: int) -> Iterator[Photo]:
    listing = json.loads((folder / "annotations.json").read_text())
    categories = {each["id"]: each["name"] for each in listing["categories"]}
    found: dict[int, list[tuple[str, dict[str, Any]]]] = {}
    for each in listing["annotations"]:
        found.setdefault(each["image_id"], []).append((categories[each["category_id"]], each["segmentation"]))
    for image in listing["images"]:
        path = folder / "images" / image["file_name"]
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise NoData(f"{path} is missing or damaged")
        shrink = min(1.0, longest / max(pixels.shape[:2]))
        if shrink < 1:
            pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        shape = (pixels.shape[0], pixels.shape[1])
        masks = [(category, resized_mask(each, shape)) for category, each in found.get(image["id"], [])]
        large = [(category, rle) for category, rle in masks if coco_mask.area(rle) >= _LEAST_AREA]
        things = _things(large, WHOLES.get(folder.name))
        rgb = np.ascontiguousarray(pixels[:, :, ::-1]).astype(np.uint8, copy=False)
        yield Photo(f"{folder.name}/{image['file_name']}", rgb, tuple(things))


def resized_mask(rle: dict[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """A compressed mask stretched to (rows, columns)."""
    if tuple(rle["size"]) == shape:
        return rle
    mask = cv2.resize(coco_mask.decode(rle) * np.uint8(255), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    stretched: dict[str, Any] = coco_mask.encode(np.asfortranarray((mask > 127).astype(np.uint8)))
    return stretched


def _things(masks: Sequence[tuple[str, dict[str, Any]]], whole: str | None) -> Iterator[Thing]:
    wholes = [index for index, (category, _) in enumerate(masks) if category == whole]
    for index, (category, rle) in enumerate(masks):
        parts: tuple[int, ...] = ()
        if whole and index in wholes:
            others = [other for other in range(len(masks)) if other not in wholes and masks[other][0] not in _APART]
            parts = tuple(other for other in others if _inside(masks[other][1], rle))
        is_whole = whole is None or index in wholes or category in _APART or not wholes
        box = tuple(int(value) for value in coco_mask.toBbox(rle))
        yield Thing(rle, box, int(coco_mask.area(rle)), is_whole, parts)  # type: ignore[arg-type]


def _inside(part: dict[str, Any], whole: dict[str, Any]) -> bool:
    shared = coco_mask.area(coco_mask.merge([part, whole], intersect=True))
    return bool(shared > 0.9 * coco_mask.area(part) and shared < 0.9 * coco_mask.area(whole))


def _read_cutout(path: Path) -> Bytes:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise NoData(f"{path} is damaged or has no transparency")
    return np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)).astype(np.uint8, copy=False)
