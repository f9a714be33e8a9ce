"""The fields of a request to a job for the engine; every check that needs no image."""

import binascii
from typing import Any, TypeVar

import pybase64
from pydantic import ValidationError

from maskery.api.errors import ApiError
from maskery.api.requests.body import Body
from maskery.api.requests.fields import invalid_field, unknown_field
from maskery.api.requests.image_field import TAKEN, take_image
from maskery.api.requests.json_object import parse_json_object
from maskery.api.schemas.segmentation import PreparationRequest, SegmentationRequest
from maskery.engine import Job, Prompt, QuotaHook, Reference, Upload
from maskery.segmentation import MERGE_IOU, ImageLimits, Options, Size

_REQUIRED = ("model", "image_prompt")
_NO_OPTIONS = (*_REQUIRED, "segment_prompt", "extra_body")

# What stands in image_prompt before the id of a prepared image. No base64 has a colon.
_REFERENCE = "id:"

Fields = TypeVar("Fields", SegmentationRequest, PreparationRequest)


def parse_fields(fields: dict[str, Any], kind: type[Fields]) -> Fields:
    """Check names and types; options inside `extra_body` are taken as if they stood beside it.

    Raises:
        ApiError: 422 with the path of the field.
    """
    fields = dict(fields)
    extra = fields.pop("extra_body", None)
    if extra is not None and not isinstance(extra, dict):
        raise ApiError(422, "invalid_field", "extra_body is an object of options, or null.", "extra_body")
    nested = extra or {}
    names = tuple(kind.model_fields)
    options = tuple(name for name in names if name not in _NO_OPTIONS)
    for name in nested:
        if name not in options:
            raise unknown_field(name, f"extra_body.{name}", options, options)
        if fields.get(name) is not None:
            raise ApiError(
                422, "given_twice", f"{name} is given beside extra_body and inside it.", f"extra_body.{name}"
            )
    for name in fields:
        if name not in names:
            raise unknown_field(name, name, names, options)
    for name in _REQUIRED:
        if name not in fields:
            raise ApiError(422, "missing_field", f"The field {name} is missing.", name)
    try:
        return kind.model_validate({**fields, **nested})
    except ValidationError as error:
        raise invalid_field(error, nested) from None


def parse_request(body: Body) -> tuple[SegmentationRequest, Upload | Reference]:
    """The checked fields of a request, and its image.

    Raises:
        ApiError: 400, 422.
    """
    request, data = _parse(body, SegmentationRequest)
    prompt = request.image_prompt
    if data is not None or not prompt.startswith(_REFERENCE):
        return request, Upload(decode_image(prompt) if data is None else data, request.exif or "apply")
    if request.exif:
        message = "exif was chosen when the image was prepared; leave it out here."
        raise ApiError(422, "invalid_field", message, "exif")
    return request, Reference(prompt.removeprefix(_REFERENCE))


def parse_preparation(body: Body) -> tuple[PreparationRequest, Upload]:
    """The checked fields of a request to prepare an image, and the image. Errors as of `parse_request`."""
    request, data = _parse(body, PreparationRequest)
    if data is None and request.image_prompt.startswith(_REFERENCE):
        message = "image_prompt is the id of a prepared image; here the image itself is needed."
        raise ApiError(422, "invalid_field", message, "image_prompt")
    return request, Upload(decode_image(request.image_prompt) if data is None else data, request.exif or "apply")


def _parse(body: Body, kind: type[Fields]) -> tuple[Fields, bytes | None]:
    if body.image is None:
        fields, data = take_image(body.json)
        return parse_fields(fields, kind), data
    fields = parse_json_object(body.json)
    if fields.get("image_prompt") is not None:
        raise ApiError(422, "given_twice", "The image is sent as a file and as image_prompt.", "image_prompt")
    return parse_fields({**fields, "image_prompt": TAKEN}, kind), body.image


def to_job(
    request: SegmentationRequest,
    image: Upload | Reference,
    limits: ImageLimits,
    account: str = "",
    quota_hook: QuotaHook | None = None,
) -> Job:
    """A checked request as the engine takes it.

    Raises:
        ApiError: 422; options that do not go together, or a mask larger than the limit.
    """
    compose = request.compose is not False
    if not compose and request.response_format in (None, "b64_json"):
        raise ApiError(
            422,
            "invalid_field",
            "compose false answers masks that may overlap, which one PNG cannot hold: ask for response_format rle or "
            "polygons.",
            "compose",
        )
    return Job(
        model=request.model,
        image=image,
        prompt=Prompt(request.segment_prompt, request.point_labels, request.boxes, request.mask_prompts),
        options=Options(
            n=request.n or 1,
            size=_read_size(request.size, limits),
            compose=compose,
            merge_iou=MERGE_IOU if request.merge_iou is None else request.merge_iou,
        ),
        account=account,
        quota_hook=quota_hook,
    )


def _read_size(text: str | None, limits: ImageLimits) -> Size | None:
    if text is None:
        return None
    width, _, height = text.partition("x")
    size = Size(int(width), int(height))
    if size.pixels > limits.max_pixels:
        raise ApiError(
            422,
            "invalid_field",
            f"size is {size} ({size.pixels:,} pixels); at most {limits.max_pixels:,} pixels are answered.",
            "size",
        )
    return size


def decode_image(text: str) -> bytes:
    """The bytes behind bare base64 or a data: URL.

    Raises:
        ApiError: 400.
    """
    payload = text
    if text[:5].lower() == "data:":
        head, comma, payload = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise _not_base64("is a data: URL, but not one that reads data:image/…;base64,…")
    try:
        data = pybase64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        # Encoders that break lines are common; anything else outside the alphabet is a mistake.
        try:
            data = pybase64.b64decode("".join(payload.split()), validate=True)
        except (binascii.Error, ValueError):
            hint = "; images are not fetched from addresses" if "://" in text[:40] else ""
            raise _not_base64(f"is not base64{hint}") from None
    if not data:
        raise _not_base64("is empty")
    return data


def _not_base64(reason: str) -> ApiError:
    return ApiError(400, "invalid_base64", f"image_prompt {reason}: send the image's file in base64.", "image_prompt")
