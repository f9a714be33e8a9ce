"""What is asked: images, prompts for them, and the answers that are right."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskery.engine import Job, Prompt, Upload, segment_directly
from maskery.models import Registry
from maskery.segmentation import ImageLimits, Mask, PromptLimits

Points = list[list[list[int]]]

#: Ways to click on an image. A network is compiled for counts of objects and of points, which takes memory once:
#: every way that there is comes up early, and not by chance late, when several clicks are decoded in one call.
PROMPTS = 6


@dataclass(frozen=True)
class Question:
    """A click.

    Attributes:
        image: its number.
        prompt: which of the `PROMPTS` ways.
        by_id: the image is named by the id of its prepared form; else its bytes are sent.
    """

    image: int
    prompt: int
    by_id: bool


def questions(count: int, images: int) -> list[Question]:
    """In an order in which every image is asked for again and again, at any distance; the same in every run."""
    random = np.random.default_rng(count)
    # Every one is asked for as often as any other, give or take one.
    order = random.permutation(np.arange(count) % images)
    return [Question(int(number), int(random.integers(PROMPTS)), bool(random.random() < 0.5)) for number in order]


def image(number: int) -> bytes:
    """A JPEG of its own size and colours, with two things on it."""
    random = np.random.default_rng(number)
    width, height = (int(side) for side in random.integers((200, 150), (360, 280)))
    pixels = np.full((height, width, 3), random.integers(90, 166, 3), np.uint8)
    pixels[20 : height // 2, 20 : width // 2] = random.integers(0, 70, 3)
    pixels[height // 2 : -20, width // 2 : -20] = random.integers(180, 255, 3)
    noise = random.integers(-12, 13, pixels.shape)
    file = io.BytesIO()
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def points(question: Question) -> Points:
    """The prompt: inside of every image, at places of its own."""
    across, down = 30 + question.image % 40, 30 + question.image % 30
    one, other, third = [across, down], [across + 90, down + 70], [across + 50, down]
    return (
        [[one]],
        [[one, other]],
        [[one], [other]],
        [[one, third], [other, one]],
        [[one], [other], [third]],
        [[one, third], [other, one], [third, other]],
    )[question.prompt]


def answerer(models: Registry, model: str, images: Sequence[bytes]) -> Callable[[int, int], Mask]:
    """A function of image and prompt: what is answered when nothing else is asked at the same time."""

    @cache
    def answer(number: int, prompt: int) -> Mask:
        job = Job(model, Upload(images[number]), Prompt(points(Question(number, prompt, False))))
        (mask,) = segment_directly(models, ImageLimits(), PromptLimits(), job).masks
        return mask

    return answer


def iou(one: NDArray[np.unsignedinteger], other: NDArray[np.unsignedinteger]) -> float:
    """Of two categorical masks: pixels of the same object over pixels of any."""
    object_in_any = (one > 0) | (other > 0)
    return float(np.mean((one == other)[object_in_any])) if object_in_any.any() else 1.0
