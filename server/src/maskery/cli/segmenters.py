"""Segment an image in this process or by a server."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from maskery.api.model_settings import image_limits, make_registry, prompt_limits
from maskery.api.schemas.rendering import to_response
from maskery.api.schemas.segmentation import ResponseFormat, SegmentationResponse
from maskery.cli.connection import connect
from maskery.engine import Prompt
from maskery.errors import UserError
from maskery.models import Registry
from maskery.segmentation import (
    AutomaticOptions,
    Exif,
    ImageFile,
    Options,
    pillow,
    segment,
    segment_everything,
)
from maskery.settings import Settings


@dataclass(frozen=True)
class Request:
    """A request without its image and prompt.

    Attributes:
        polygon_tolerance: in pixels, with `response_format` polygons.
    """

    model: str
    options: Options
    exif: Exif
    response_format: ResponseFormat
    polygon_tolerance: float = 0.0


#: Segments the bytes of an image file. Thread-safe. Raises UserError.
Segmenter = Callable[[bytes, Prompt | AutomaticOptions], SegmentationResponse]


@contextmanager
def local(request: Request, registry: Registry | None = None) -> Iterator[Segmenter]:
    """Segment in this process.

    Args:
        registry: of the models; None: a new one.

    Raises:
        ModelNotInstalled, StoreError: the model is not installed or cannot be loaded.
        UserError: the size of the mask is above the limit.
    """
    pillow.silence()
    settings = Settings.load()
    limits, size = image_limits(settings), request.options.size
    if size and size.pixels > limits.max_pixels:
        raise UserError(f"--size {size} has {size.pixels:,} pixels; the limit is {limits.max_pixels:,} pixels.")
    model = (registry or make_registry(settings)).get(request.model)

    def segment_locally(image: bytes, prompt: Prompt | AutomaticOptions) -> SegmentationResponse:
        file = ImageFile(image, request.exif, limits)
        if isinstance(prompt, AutomaticOptions):
            options = prompt.resolve(model, prompt_limits(settings))
            found = segment_everything(model, model.encode(file.decode()), options, size)
        else:
            objects = prompt.check(file.size, prompt_limits(settings))
            found = segment(model, file.decode(), objects, request.options)
        return to_response(found, request.response_format, request.polygon_tolerance)

    yield segment_locally


@contextmanager
def remote(request: Request, url: str, key: str | None, timeout: float) -> Iterator[Segmenter]:
    """Segment by a server.

    Args:
        url: base URL of the server.
        key: API key.
        timeout: seconds per request.

    Raises:
        UserError: as of `connect`.
    """

    def segment_remotely(image: bytes, prompt: Prompt | AutomaticOptions) -> SegmentationResponse:
        text = json.dumps(to_fields(request, prompt))
        response = connection.post("/v1/images/segmentations", image, text, SegmentationResponse)
        if not response.data:
            raise UserError(f"{url} is not a segmentation server: its answer holds no masks.")
        return response

    with connect(url, key, timeout) as connection:
        yield segment_remotely


def to_fields(request: Request, prompt: Prompt | AutomaticOptions) -> dict[str, object]:
    """The fields of the API's request, without the image."""
    options = request.options
    if isinstance(prompt, AutomaticOptions):
        asked: dict[str, object] = {"automatic": vars(prompt)}
    else:
        given = {name: value for name, value in vars(prompt).items() if value is not None}
        asked = {**given, "n": options.n, "compose": options.compose, "merge_iou": options.merge_iou}
    return {
        "model": request.model,
        **asked,
        "size": str(options.size) if options.size else None,
        "exif": request.exif,
        "response_format": request.response_format,
        "polygon_tolerance": request.polygon_tolerance or None,
    }
