"""COCO files: the masks of one image or of many, in the format that datasets and labelling tools exchange."""

import json
from collections.abc import Sequence
from typing import Any

from maskery.api.schemas.segmentation import MaskSchema

#: Category of objects without a label.
UNLABELLED = "object"


def to_coco(masks: Sequence[tuple[str, MaskSchema]]) -> bytes:
    """One COCO file: an annotation per segment that has pixels, a category per label in the order of appearance.

    Args:
        masks: the name of each image's file and its mask, whose segments have RLE or polygons. The mask has the
            image's size.
    """
    categories: dict[str, int] = {}
    annotations: list[dict[str, Any]] = []
    for image_id, (_, mask) in enumerate(masks, start=1):
        for segment in mask.segments:
            if segment.bbox is None:
                continue
            polygons = [_join_rings(rings) for rings in segment.polygons or ()]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": categories.setdefault(segment.label or UNLABELLED, len(categories) + 1),
                    "segmentation": segment.rle.model_dump() if segment.rle else polygons,
                    "area": segment.area,
                    "bbox": segment.bbox,
                    "iscrowd": 0,
                    "score": segment.score,
                }
            )
    images = [
        {"id": image_id, "file_name": name, "width": mask.width, "height": mask.height}
        for image_id, (name, mask) in enumerate(masks, start=1)
    ]
    file = {
        "info": {"description": "Made with Maskery"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    return json.dumps(file, ensure_ascii=False).encode()


def _join_rings(rings: Sequence[Sequence[Sequence[int]]]) -> list[int]:
    """A polygon as one ring x, y, x, y …, because COCO polygons have no holes.

    Each hole is joined to the nearest corner of the outer ring by a line there and back, which encloses no area.
    """
    outer, *holes = rings
    detours: dict[int, list[Sequence[int]]] = {}
    for hole in holes:
        x, y = hole[0]
        nearest = min(range(len(outer)), key=lambda index: (outer[index][0] - x) ** 2 + (outer[index][1] - y) ** 2)
        detours.setdefault(nearest, []).extend([*hole, hole[0], outer[nearest]])
    corners = [corner for index, each in enumerate(outer) for corner in (each, *detours.get(index, ()))]
    return [coordinate for corner in corners for coordinate in corner]
