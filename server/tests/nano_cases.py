"""Images and prompts for comparing `maskery/nano` with the network in PyTorch, also used by the comparison itself."""

from typing import NamedTuple

import numpy as np

from maskery.segmentation import Image, ObjectPrompt


class Case(NamedTuple):
    """An image with one object's prompt: points (x, y, label) and a box, in pixels."""

    image: Image
    points: tuple[tuple[float, float, int], ...]
    box: tuple[float, float, float, float] | None = None

    @property
    def prompt(self) -> ObjectPrompt:
        points = np.array(self.points, np.float32).reshape(-1, 3)
        box = None if self.box is None else np.array(self.box, np.float32)
        return ObjectPrompt(points[:, :2].copy(), points[:, 2].astype(np.uint8), box)


def scene(width: int, height: int) -> Image:
    """A disc on an ellipse in front of a sloping background, noisy."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    pixels = np.stack([40 + 60 * x / width, 70 + 50 * y / height, np.full_like(x, 150)], 2)
    pixels[np.hypot((x - width * 0.5) / 1.6, y - height * 0.55) < height * 0.3] = (200, 170, 60)
    pixels[np.hypot(x - width * 0.42, y - height * 0.5) < height * 0.14] = (180, 40, 40)
    noise = np.random.default_rng(0).normal(0, 5, pixels.shape)
    return Image((pixels + noise).clip(0, 255).astype(np.uint8))


WIDE, TALL, LARGE = scene(240, 160), scene(120, 200), scene(1000, 700)

CASES = [
    Case(WIDE, ((150.5, 90.5, 1),)),
    Case(WIDE, ((100.5, 80.5, 1), (160.5, 90.5, 0))),
    Case(WIDE, ((150.5, 90.5, 1), (100.5, 80.5, 0), (230.5, 10.5, 0), (80.5, 110.5, 1))),
    Case(TALL, (), (20, 50, 100, 170)),
    Case(TALL, ((60.5, 110.5, 1), (20.5, 30.5, 0)), (20, 50, 100, 170)),
    Case(LARGE, ((420.5, 350.5, 1),)),
    Case(LARGE, ((650.5, 400.5, 1), (420.5, 350.5, 1))),
]
