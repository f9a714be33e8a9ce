"""What a model runs on once, so that the first request need not wait for that."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from maskery.segmentation import ObjectPrompt, Size, to_png

_SIDE = 64

# One object and several, a point and two: a network is compiled for each such shape. In shares of the image's side.
_PLACES = ((0.5, 0.5), (0.1, 0.1), (0.9, 0.9), (0.1, 0.9))
_OBJECTS = (1, 2, 4)
_POINTS = (1, 2)


def image(max_pixels: int, proportion: float = 1.0) -> bytes:
    """A PNG with something light in its middle, within the limit on pixels.

    Args:
        proportion: width over height.
    """
    side = min(_SIDE, math.isqrt(max_pixels))
    height, width = (max(1, int(side * min(1.0, share))) for share in (1 / proportion, proportion))
    pixels = np.full((height, width), 96, np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 224
    return to_png(pixels)


def prompts(size: Size, counts: Sequence[int] = _OBJECTS) -> Iterator[tuple[ObjectPrompt, ...]]:
    """Objects to decode on it, call by call, so many in a call."""
    for objects, points in product(counts, _POINTS):
        places = [[place, *_PLACES][:points] for place in _PLACES[:objects]]
        yield tuple(ObjectPrompt(np.array(each, np.float32) * size, np.ones(points, np.uint8)) for each in places)
