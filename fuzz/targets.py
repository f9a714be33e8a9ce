"""The fuzz targets: functions that read a client's bytes, with what must hold for every input.

A target returns normally for an accepted input and raises one of `REFUSALS` for a refused one. Any other exception is a
bug, and so is an input that takes more CPU time or memory than `limits.py` allows.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from starlette.requests import Request

from maskery.api.errors import ApiError
from maskery.api.requests.body import Body, read_body
from maskery.api.requests.image_field import decode_image, take_image
from maskery.api.requests.json_object import parse_json_object
from maskery.api.requests.segmentation import parse_request, to_job
from maskery.api.schemas.segmentation import SegmentationRequest
from maskery.engine import Reference, Upload
from maskery.segmentation import AutomaticOptions, ImageFile, ImageLimits, PromptLimits, SegmentationError, Size, rle
from maskery.segmentation.mask_prompt import read_mask_prompt

REFUSALS = (ApiError, SegmentationError)

#: Small limits, so that what an input costs beyond them shows.
IMAGE_LIMITS = ImageLimits(max_bytes=2**20, max_pixels=500_000)
PROMPT_LIMITS = PromptLimits(max_objects=64, max_points=256, max_mask_pixels=2_000_000)

_SIZE = Size(60, 40)

# Of a model, all that the checks read.
_MODEL: Any = SimpleNamespace(name="fuzz", max_batch=16)


def image(data: bytes) -> None:
    """Open an image file. The size of its header is that of its pixels, with and without EXIF."""
    for exif in ("apply", "ignore"):
        file = ImageFile(data, exif, IMAGE_LIMITS)
        pixels = file.decode().pixels
        assert pixels.shape == (file.size.height, file.size.width, 3), (pixels.shape, file.size)
        assert pixels.dtype == np.uint8


def json_object(data: bytes) -> None:
    """Read strict JSON. An accepted object is what Python's own reader makes of it, and can be written again."""
    value = parse_json_object(data)
    # Compared as text: NaN is not equal to itself.
    assert repr(value) == repr(json.loads(data.decode("utf-8-sig")))
    json.dumps(value, ensure_ascii=False).encode()


def request(data: bytes) -> None:
    """Read a request's JSON body as far as the prompt. The image is the same read in place and from the text."""
    fields, taken = take_image(data)
    if taken is not None:
        whole = parse_json_object(data)
        assert taken == decode_image(whole["image_prompt"])
        assert repr({**fields, "image_prompt": ""}) == repr({**whole, "image_prompt": ""})
    parsed, upload = parse_request(Body(data))
    _check_prompt(parsed, upload)


def _check_prompt(parsed: SegmentationRequest, image: Upload | Reference) -> None:
    prompt = to_job(parsed, image, IMAGE_LIMITS).prompt
    if isinstance(prompt, AutomaticOptions):
        prompt.resolve(_MODEL, PROMPT_LIMITS)
    else:
        prompt.check(_SIZE, PROMPT_LIMITS)


def form(data: bytes) -> None:
    """Read a multipart request: the first line is the header Content-Type, the rest the body."""
    content_type, _, content = data.partition(b"\n")
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type)]}
    messages: Iterator[Any] = iter([{"type": "http.request", "body": content, "more_body": False}])

    async def receive() -> Any:
        return next(messages)

    body = asyncio.run(read_body(Request(scope, receive), IMAGE_LIMITS.max_bytes, 60.0))
    parsed, upload = parse_request(body)
    _check_prompt(parsed, upload)


def run_lengths(data: bytes) -> None:
    """Read the counts of an RLE, compressed or as a JSON list. An accepted mask survives encoding and decoding."""
    try:
        counts: Any = json.loads(data) if data[:1] == b"[" else data.decode("latin-1")
    except (ValueError, RecursionError):
        return
    try:
        mask = rle.decode(counts, _SIZE)
    except ValueError:
        return
    assert mask.shape == (_SIZE.height, _SIZE.width)
    assert (rle.decode(rle.encode(mask, (0, 0), _SIZE)["counts"], _SIZE) == mask).all()


def mask_prompt(data: bytes) -> None:
    """Read a mask prompt: JSON, or else the bytes of a PNG file."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = base64.b64encode(data).decode()
    mask = read_mask_prompt(value, "mask_prompts[0]", _SIZE)
    assert mask.shape == (_SIZE.height, _SIZE.width)
    assert mask.dtype == np.bool_


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (image, json_object, request, form, run_lengths, mask_prompt)
}
