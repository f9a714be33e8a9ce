"""Turns a request's body into a job for the engine. Makes every check that does not need the decoded image."""

from typing import Any, TypeVar

from maskery.api.errors import ApiError
from maskery.api.requests.body import Body
from maskery.api.requests.fields import parse_fields, unknown_field
from maskery.api.requests.image_field import TAKEN, decode_image, take_image
from maskery.api.requests.json_object import parse_json_object
from maskery.api.schemas.segmentation import PreparationRequest, SegmentationRequest
from maskery.engine import Job, Prompt, QuotaHook, Reference, Upload
from maskery.segmentation import MERGE_IOU, AutomaticOptions, ImageLimits, Options, Size

# Fields that may not be sent inside `extra_body`.
_NO_OPTIONS = ("model", "image_prompt", "segment_prompt", "extra_body")

# Precedes the id of a prepared image in `image_prompt`. Base64 contains no colon.
_REFERENCE = "id:"

Fields = TypeVar("Fields", SegmentationRequest, PreparationRequest)


def parse_request(body: Body) -> tuple[SegmentationRequest, Upload | Reference]:
    """Parse a segmentation request.

    Returns:
        The request's fields and its image.

    Raises:
        ApiError: 400; the JSON or the base64 is malformed. 422; a field is invalid.
    """
    request, data = _parse(body, SegmentationRequest)
    prompt = request.image_prompt
    if data is not None or not prompt.startswith(_REFERENCE):
        return request, Upload(decode_image(prompt) if data is None else data, request.exif or "apply")
    if request.exif:
        message = "exif was set when the image was prepared; remove it from this request."
        raise ApiError(422, "invalid_field", message, "exif")
    return request, Reference(prompt.removeprefix(_REFERENCE))


def parse_preparation(body: Body) -> tuple[PreparationRequest, Upload]:
    """Parse a request to prepare an image. Returns and raises the same as `parse_request`."""
    request, data = _parse(body, PreparationRequest)
    if data is None and request.image_prompt.startswith(_REFERENCE):
        message = "image_prompt is the id of a prepared image; send the image itself."
        raise ApiError(422, "invalid_field", message, "image_prompt")
    return request, Upload(decode_image(request.image_prompt) if data is None else data, request.exif or "apply")


def _parse(body: Body, kind: type[Fields]) -> tuple[Fields, bytes | None]:
    if body.image is None:
        fields, data = take_image(body.json)
        return _parse_options(fields, kind), data
    fields = parse_json_object(body.json)
    if fields.get("image_prompt") is not None:
        raise ApiError(422, "given_twice", "The image is given twice: as a file and as image_prompt.", "image_prompt")
    return _parse_options({**fields, "image_prompt": TAKEN}, kind), body.image


def _parse_options(fields: dict[str, Any], kind: type[Fields]) -> Fields:
    """Validate a request's fields. Options inside `extra_body` are read as if they stood beside it.

    Raises:
        ApiError: 422 with the path of the first invalid field.
    """
    options = [name for name in kind.model_fields if name not in _NO_OPTIONS]
    extra_body = fields.get("extra_body")
    if extra_body is not None and not isinstance(extra_body, dict):
        raise ApiError(422, "invalid_field", "extra_body must be an object of options, or null.", "extra_body")
    nested = {name: value for name, value in (extra_body or {}).items() if value is not None}
    for name in extra_body or {}:
        if name not in options:
            raise unknown_field(name, options, "extra_body.")
        if name in nested and fields.get(name) is not None:
            message = f"{name} is given twice: at the top level and inside extra_body."
            raise ApiError(422, "given_twice", message, f"extra_body.{name}")
    return parse_fields({name: value for name, value in fields.items() if name != "extra_body"} | nested, kind, nested)


def to_job(
    request: SegmentationRequest,
    image: Upload | Reference,
    limits: ImageLimits,
    account: str = "",
    quota_hook: QuotaHook | None = None,
) -> Job:
    """Make the engine's job of a request.

    Args:
        limits: the limits on images, which hold for `size` as well.
        account: the account that sent the request.
        quota_hook: charges the account for an image before it is encoded.

    Raises:
        ApiError: 422; options contradict each other, or `size` is above the limit.
    """
    compose = request.compose is not False
    if not compose and request.response_format in (None, "b64_json"):
        raise ApiError(
            422,
            "invalid_field",
            "compose is false: the masks may overlap, which one PNG cannot represent; set response_format to rle or "
            "polygons.",
            "compose",
        )
    if request.polygon_tolerance is not None and request.response_format != "polygons":
        message = "polygon_tolerance simplifies polygons: set response_format to polygons, or leave it out."
        raise ApiError(422, "invalid_field", message, "polygon_tolerance")
    return Job(
        model=request.model,
        image=image,
        prompt=_read_prompt(request),
        options=Options(
            n=request.n or 1,
            size=_read_size(request.size, limits),
            compose=compose,
            merge_iou=MERGE_IOU if request.merge_iou is None else request.merge_iou,
        ),
        account=account,
        quota_hook=quota_hook,
    )


def _read_prompt(request: SegmentationRequest) -> Prompt | AutomaticOptions:
    if request.automatic is None:
        return Prompt(request.segment_prompt, request.point_labels, request.boxes, request.mask_prompts, request.labels)
    for name in ("segment_prompt", "point_labels", "boxes", "mask_prompts", "labels", "merge_iou"):
        if getattr(request, name) is not None:
            raise ApiError(422, "invalid_field", f"automatic finds the objects by itself: leave out {name}.", name)
    if (request.n or 1) > 1:
        raise ApiError(422, "invalid_field", "automatic makes one mask: leave out n.", "n")
    if request.compose is False:
        raise ApiError(422, "invalid_field", "automatic makes one mask: leave out compose.", "compose")
    return AutomaticOptions(**request.automatic.model_dump(exclude_none=True))


def _read_size(text: str | None, limits: ImageLimits) -> Size | None:
    if text is None:
        return None
    width, _, height = text.partition("x")
    size = Size(int(width), int(height))
    if size.pixels > limits.max_pixels:
        message = f"size is {size} ({size.pixels:,} pixels); the limit is {limits.max_pixels:,} pixels."
        raise ApiError(422, "invalid_field", message, "size")
    return size
