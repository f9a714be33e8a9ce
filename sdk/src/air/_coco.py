"""From the segments of a mask to a COCO file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ._encoding import OptionalModule
from ._mask_arrays import MaskPixels, Region, mask_size, segment_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = OptionalModule("numpy")

#: Category of segments without a label.
UNLABELLED = "object"


class Annotated(Region, Protocol):
    """A segment with what COCO says about one: `air.Segment`."""

    label: str | None
    score: float | None
    area: int | None
    bbox: Any


def coco_file(pixels: MaskPixels, segments: Sequence[Annotated], label: str | None, file_name: str) -> dict[str, Any]:
    """A COCO file of one image. Raises MaskError.

    Args:
        label: of the mask, for segments that have none.
    """
    height, width = mask_size(pixels, segments)
    categories: dict[str, int] = {}
    annotations: list[dict[str, Any]] = []
    for segment in segments:
        area, bbox = _area_and_bbox(pixels, segment)
        if not area:
            continue
        name = segment.label or label or UNLABELLED
        annotation = {
            "id": len(annotations) + 1,
            "image_id": 1,
            "category_id": categories.setdefault(name, len(categories) + 1),
            "segmentation": _segmentation(pixels, segment),
            "area": area,
            "bbox": bbox,
            "iscrowd": 0,
        }
        annotations.append(annotation if segment.score is None else {**annotation, "score": segment.score})
    return {
        "images": [{"id": 1, "file_name": file_name, "width": width, "height": height}],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def _area_and_bbox(pixels: MaskPixels, segment: Annotated) -> tuple[int, list[float] | None]:
    if segment.area == 0 or (segment.area and segment.bbox):
        return segment.area, segment.bbox and list(segment.bbox)
    mask = segment_pixels(pixels, segment)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)).tolist() for axis in (1, 0))
    if not rows:
        return 0, None
    x, y = columns[0], rows[0]
    return int(np.count_nonzero(mask)), [x, y, columns[-1] + 1 - x, rows[-1] + 1 - y]


def _segmentation(pixels: MaskPixels, segment: Annotated) -> dict[str, Any] | list[list[float]]:
    if segment.rle is not None:
        return {"size": list(segment.rle.size), "counts": segment.rle.counts}
    if segment.polygons is not None and all(len(rings) == 1 for rings in segment.polygons):
        return [[coordinate for corner in ring for coordinate in corner] for (ring,) in segment.polygons]
    mask = segment_pixels(pixels, segment)
    return {"size": list(mask.shape), "counts": encode_rle(mask)}


def encode_rle(mask: "NDArray[np.bool_]") -> str:
    """COCO's compressed run-length encoding of bool [height, width]; see `_mask_arrays.decode_rle`."""
    flat = mask.T.ravel()
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(borders, prepend=0, append=flat.size).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return "".join(_digits(run - runs[index - 2] if index > 2 else run) for index, run in enumerate(runs))


def _digits(number: int) -> str:
    digits = ""
    while True:
        group, number = number & 0x1F, number >> 5
        more = number != (-1 if group & 0x10 else 0)
        digits += chr(48 + group + (0x20 if more else 0))
        if not more:
            return digits
