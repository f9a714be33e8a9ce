"""Renders a segmentation as the response's JSON."""

import time

import pybase64

from maskery.api.schemas import segmentation as schemas
from maskery.segmentation import Mask, Segment, Segmentation, Size, to_png


def render(segmentation: Segmentation, form: schemas.ResponseFormat, tolerance: float = 0.0) -> bytes:
    """The response's JSON; arguments as of `to_response`."""
    return to_response(segmentation, form, tolerance).model_dump_json().encode()


def to_response(
    segmentation: Segmentation, form: schemas.ResponseFormat, tolerance: float = 0.0
) -> schemas.SegmentationResponse:
    """The response, with the masks in one of the three formats.

    Args:
        tolerance: of polygons, in pixels; 0: exact.
    """
    usage = segmentation.usage
    input_tokens = usage.image_tokens + usage.point_tokens
    return schemas.SegmentationResponse(
        created=int(time.time()),
        data=[_mask(mask, form, tolerance) for mask in segmentation.masks],
        usage=schemas.UsageSchema(
            input_tokens=input_tokens,
            input_tokens_details={"image_tokens": usage.image_tokens, "point_tokens": usage.point_tokens},
            output_tokens=usage.output_tokens,
            total_tokens=input_tokens + usage.output_tokens,
        ),
    )


def _mask(mask: Mask, form: schemas.ResponseFormat, tolerance: float) -> schemas.MaskSchema:
    png = None
    if form == "b64_json" and mask.values is not None:
        png = pybase64.b64encode_as_string(to_png(mask.values))
    return schemas.MaskSchema(
        b64_json=png,
        label=mask.label,
        score=mask.score,
        width=mask.size.width,
        height=mask.size.height,
        segments=[_segment(segment, mask.size, form, tolerance) for segment in mask.segments],
    )


def _segment(segment: Segment, size: Size, form: schemas.ResponseFormat, tolerance: float) -> schemas.SegmentSchema:
    return schemas.SegmentSchema(
        value=segment.value,
        prompts=list(segment.prompts),
        label=segment.label,
        score=segment.score,
        area=segment.area,
        bbox=None if segment.bbox is None else list(segment.bbox),
        rle=schemas.RleSchema(**segment.rle(size)) if form == "rle" else None,
        polygons=segment.polygons(tolerance) if form == "polygons" else None,
    )
