"""Request bodies, prepared so that sending one costs the client only a copy."""

import base64
import json
from collections.abc import Sequence

import numpy as np

from benchmarks.serving.images import HEIGHT, WIDTH

# Number of different prompts; they repeat after as many requests.
_PROMPTS = 61
# Length of the comment that makes a file new; with the markers before it a multiple of 3, the block of base64.
_COMMENT = 36


class Bodies:
    """Bodies of requests for some images.

    Args:
        model: its name.
        images: JPEG files.
    """

    def __init__(self, model: str, images: Sequence[bytes]) -> None:
        self._start = f'{{"model": {json.dumps(model)}, "image_prompt": "'.encode()
        self._tails = [base64.b64encode(image[2:]) for image in images]
        self._prompts: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        """The number of images."""
        return len(self._tails)

    def known(self, image: int, request: int, objects: int) -> bytes:
        """An image with the same bytes every time, and the prompt of this request."""
        return self._body(self._image(image, "known"), request, objects)

    def new(self, number: int, request: int, objects: int) -> bytes:
        """An image whose bytes are new."""
        return self._body(self._image(number % len(self), f"new {number}"), request, objects)

    def prepared(self, name: str, request: int, objects: int) -> bytes:
        """An image that the server has prepared."""
        return self._body(name.encode(), request, objects)

    def preparation(self, image: int) -> bytes:
        """The body of a request to prepare an image."""
        return self._start + self._image(image, "known") + b'"}'

    def _image(self, image: int, comment: str) -> bytes:
        """A JPEG with a comment after its start marker."""
        text = comment.encode().ljust(_COMMENT)
        head = b"\xff\xd8\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
        return base64.b64encode(head) + self._tails[image]

    def _body(self, image: bytes, request: int, objects: int) -> bytes:
        if objects not in self._prompts:
            self._prompts[objects] = _prompts(objects)
        return self._start + image + self._prompts[objects][request % _PROMPTS]


def _prompts(objects: int) -> list[bytes]:
    """The rest of the body: a click on each object, away from the image's edge."""
    shares = np.random.default_rng(objects).uniform(0.05, 0.95, (_PROMPTS, objects, 1, 2))
    places = (shares * (WIDTH, HEIGHT)).astype(int).tolist()
    return [f'", "segment_prompt": {json.dumps(each)}}}'.encode() for each in places]
