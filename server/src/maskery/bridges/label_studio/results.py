"""The answer: regions of the control that receives the masks."""

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from maskery.bridges.label_studio import brush
from maskery.bridges.label_studio.configuration import Output
from maskery.bridges.outlines import outlines
from maskery.segmentation import Segment, Segmentation, Size


def to_results(
    segmentation: Segmentation, labels: Sequence[tuple[str, ...]], output: Output, rotation: float = 0
) -> list[dict[str, Any]]:
    """The regions of a segmentation.

    Args:
        labels: of every object.
        output: the control that receives the masks.
        rotation: in degrees, by which the annotator has turned the image.

    Returns:
        One brush for each object, or one polygon for each of its parts; none for an object without pixels.
    """
    mask = segmentation.masks[0]
    return [
        {
            "id": secrets.token_hex(5),
            "from_name": output.name,
            "to_name": output.image,
            "type": output.kind,
            "original_width": mask.size.width,
            "original_height": mask.size.height,
            "image_rotation": rotation,
            "value": {**value, output.kind: list(labels[segment.value - 1])},
            "score": segment.score,
            "readonly": False,
        }
        for segment in mask.segments
        if segment.area
        for value in _values(segment, mask.size, output)
    ]


def _values(segment: Segment, size: Size, output: Output) -> Iterator[dict[str, Any]]:
    if output.kind == "brushlabels":
        whole = np.zeros((size.height, size.width), np.bool_)
        whole[segment.region.slices] = segment.pixels(segment.region)
        yield {"format": "rle", "rle": list(brush.encode(whole))}
        return
    percent = np.array([100 / size.width, 100 / size.height])
    for outline in outlines(segment):
        yield {"points": (outline * percent).tolist(), "closed": True}
