"""From the arguments of ``segment`` to the calls that are sent."""

from collections.abc import Mapping
from typing import Any

from . import _prompts
from ._encoding import json_body, picture_body
from ._config import Config
from ._image_input import Picture, is_id
from ._prepared import PreparedImage
from ._prepared_images import with_prepared
from ._transport import Body, Call, Program, ask
from .errors import InputError
from .types import SegmentationResponse

_PATH = "/v1/images/segmentations"

# What turns each option into plain JSON.
_OPTIONS = {
    "point_labels": lambda value: _prompts.numbers(value, "point_labels"),
    "boxes": lambda value: _prompts.numbers(value, "boxes"),
    "mask_prompts": _prompts.mask_prompts,
    "n": None,
    "size": _prompts.size,
    "exif": None,
    "response_format": None,
    "compose": None,
    "merge_iou": None,
    "user": None,
}


def segmentation(
    config: Config,
    /,
    image: Picture,
    segment_prompt: _prompts.SegmentPrompt | None,
    model: str,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: object | None = None,
    **parameters: Any,
) -> Program[SegmentationResponse]:
    exif = parameters.get("exif")
    if isinstance(image, PreparedImage) or is_id(image):
        _check_exif(image, exif)
        parameters["exif"] = None

    def fields() -> dict[str, Any]:
        return {
            "model": model,
            "segment_prompt": _prompts.segment_prompt(segment_prompt),
            "extra_body": extra_body,
            **_plain(parameters),
        }

    def body() -> Body:
        if is_id(image):
            return json_body({"image_prompt": image, **fields()})
        return picture_body(config.upload, image, fields())

    if not isinstance(image, PreparedImage):
        return (yield from ask(Call("POST", _PATH, SegmentationResponse, body=body, headers=extra_headers)))

    def checked_fields() -> dict[str, Any]:
        made = fields()
        json_body(made)  # what cannot be sent is to be found before a picture is uploaded for it
        return made

    made = yield checked_fields

    def call(identifier: str) -> Call[SegmentationResponse]:
        return Call(
            "POST",
            _PATH,
            SegmentationResponse,
            body=lambda: json_body({"image_prompt": f"id:{identifier}", **made}),
            headers=extra_headers,
        )

    return (yield from with_prepared(config, image, model, extra_headers, call))


def _check_exif(image: object, exif: object) -> None:
    """How a prepared picture is turned was settled when it was prepared. Raises InputError for anything else."""
    settled = image.exif if isinstance(image, PreparedImage) else None
    if exif is not None and exif != settled:
        told = "" if settled is None else f", with exif={settled!r}"
        raise InputError(f"image was prepared already{told}: exif={exif!r} belongs to images.prepare()")


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Options as plain JSON, those that were left out dropped; parameters unknown to us as they are."""
    plain = {}
    for name, value in parameters.items():
        if name not in _OPTIONS:
            plain[name] = value
        elif value is not None:
            convert = _OPTIONS[name]
            plain[name] = value if convert is None else convert(value)
    return plain
