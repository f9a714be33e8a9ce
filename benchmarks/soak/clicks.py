"""Clicks: images, prompts for them, and the expected masks."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskery.segmentation import Mask, Model, open_image, parse_prompt, segment

Points = list[list[list[int]]]

#: Different prompts for an image. A network is compiled, and takes memory, for each number of objects and points: all
#: of them must occur early, and not late by chance, when several clicks share a call.
PROMPTS = 6


@dataclass(frozen=True)
class Click:
    """A prompt for an image.

    Attributes:
        image: number of the image.
        prompt: which of the `PROMPTS` prompts.
        by_id: whether the image is sent as the id of a prepared image, or as a file.
    """

    image: int
    prompt: int
    by_id: bool


def clicks(count: int, images: int) -> list[Click]:
    """Clicks on all images, in a random order that is the same in every run."""
    random = np.random.default_rng(count)
    # All images get the same number of clicks, plus or minus one.
    order = random.permutation(np.arange(count) % images)
    return [Click(int(number), int(random.integers(PROMPTS)), bool(random.random() < 0.5)) for number in order]


def image(number: int) -> bytes:
    """A JPEG file of two objects; size and colours depend on the number."""
    random = np.random.default_rng(number)
    width, height = (int(side) for side in random.integers((200, 150), (360, 280)))
    pixels = np.full((height, width, 3), random.integers(90, 166, 3), np.uint8)
    pixels[20 : height // 2, 20 : width // 2] = random.integers(0, 70, 3)
    pixels[height // 2 : -20, width // 2 : -20] = random.integers(180, 255, 3)
    noise = random.integers(-12, 13, pixels.shape)
    file = io.BytesIO()
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def points(click: Click) -> Points:
    """The prompt; its points lie inside every image and depend on it."""
    across, down = 30 + click.image % 40, 30 + click.image % 30
    one, other, third = [across, down], [across + 90, down + 70], [across + 50, down]
    return (
        [[one]],
        [[one, other]],
        [[one], [other]],
        [[one, third], [other, one]],
        [[one], [other], [third]],
        [[one, third], [other, one], [third, other]],
    )[click.prompt]


def expected_masks(model: Model, images: Sequence[bytes]) -> Callable[[int, int], Mask]:
    """A function of image and prompt: the mask without a server."""

    @cache
    def expected(number: int, prompt: int) -> Mask:
        image = open_image(images[number])
        (mask,) = segment(model, image, parse_prompt(points(Click(number, prompt, False)), image.size)).masks
        return mask

    return expected


def iou(one: NDArray[np.unsignedinteger], other: NDArray[np.unsignedinteger]) -> float:
    """IoU of two categorical masks: pixels of the same object over pixels of any object."""
    object_in_any = (one > 0) | (other > 0)
    return float(np.mean((one == other)[object_in_any])) if object_in_any.any() else 1.0
