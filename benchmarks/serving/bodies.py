"""Requests as bytes, made ready so that sending one costs the sender nothing but a copy."""

import base64
import json
from collections.abc import Sequence

import numpy as np

from benchmarks.serving.images import HEIGHT, WIDTH

# Clicks differ from request to request, and come around after as many.
_PROMPTS = 61
# Of the comment that makes a file's bytes new: with the markers before it a multiple of 3, which base64 goes in.
_COMMENT = 36


class Bodies:
    """Bodies of requests for some images.

    Args:
        model: that is asked.
        images: JPEG files.
    """

    def __init__(self, model: str, images: Sequence[bytes]) -> None:
        self._start = f'{{"model": {json.dumps(model)}, "image_prompt": "'.encode()
        self._tails = [base64.b64encode(image[2:]) for image in images]
        self._prompts: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        """How many images there are."""
        return len(self._tails)

    def known(self, image: int, request: int, objects: int) -> bytes:
        """The image as it was and will be, with the clicks of this request."""
        return self._body(self._image(image, "known"), request, objects)

    def new(self, number: int, request: int, objects: int) -> bytes:
        """An image whose bytes no other number has."""
        return self._body(self._image(number % len(self), f"new {number}"), request, objects)

    def prepared(self, name: str, request: int, objects: int) -> bytes:
        """An image that the server knows by a name."""
        return self._body(name.encode(), request, objects)

    def preparation(self, image: int) -> bytes:
        """The image alone, to be given a name."""
        return self._start + self._image(image, "known") + b'"}'

    def _image(self, image: int, comment: str) -> bytes:
        """A JPEG's start marker, a comment, and all that follows in the file."""
        text = comment.encode().ljust(_COMMENT)
        head = b"\xff\xd8\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
        return base64.b64encode(head) + self._tails[image]

    def _body(self, image: bytes, request: int, objects: int) -> bytes:
        if objects not in self._prompts:
            self._prompts[objects] = _prompts(objects)
        return self._start + image + self._prompts[objects][request % _PROMPTS]


def _prompts(objects: int) -> list[bytes]:
    """What follows the image: a click on each object, away from the image's edge."""
    shares = np.random.default_rng(objects).uniform(0.05, 0.95, (_PROMPTS, objects, 1, 2))
    places = (shares * (WIDTH, HEIGHT)).astype(int).tolist()
    return [f'", "segment_prompt": {json.dumps(each)}}}'.encode() for each in places]
