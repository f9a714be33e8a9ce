"""Images and prompts of every kind for comparing networks, also used by the comparison with transformers."""

from collections.abc import Iterator

import numpy as np

from maskery.segmentation import Image, ObjectPrompt, Size, parse_prompt

SIZES = [Size(128, 128), Size(160, 90), Size(70, 200), Size(31, 17), Size(1, 1), Size(333, 127), Size(9, 400)]


def image(size: Size, seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (size.height // 8 + 1, size.width // 8 + 1, 3), dtype=np.uint8)
    return Image(np.kron(coarse, np.ones((8, 8, 1), np.uint8))[: size.height, : size.width])


def prompts(size: Size) -> Iterator[list[ObjectPrompt]]:
    """1 to 5 objects of 1 to 4 points, labels, boxes, different lengths, mask prompts."""
    rng = np.random.default_rng(size.pixels)

    def points(count: int) -> list[list[float]]:
        return (rng.random((count, 2)) * (np.array(size) - 0.01)).tolist()

    def box() -> list[float]:
        x, y = sorted(rng.random(2) * size.width), sorted(rng.random(2) * size.height)
        return [x[0], y[0], min(x[1] + 0.1, size.width), min(y[1] + 0.1, size.height)]

    for objects in (1, 2, 5):
        for count in (1, 2, 4):
            groups = [points(count) for _ in range(objects)]
            yield list(parse_prompt(groups, size))
            if count > 1:
                labels = [[1, *rng.integers(0, 2, count - 1).tolist()] for _ in groups]
                yield list(parse_prompt(groups, size, labels))
    yield list(parse_prompt([points(count) for count in (1, 4, 2, 3)], size))
    yield list(parse_prompt(None, size, boxes=[box(), box(), box()]))
    yield list(parse_prompt([points(2), points(1), []], size, boxes=[box(), None, box()]))
    mask = rng.random((size.height, size.width)) > 0.5
    one, two = parse_prompt([points(1), points(3)], size)
    yield [ObjectPrompt(one.points, one.labels, None, mask), two, ObjectPrompt(two.points, two.labels, None, ~mask)]
    yield [ObjectPrompt(one.points[:0], one.labels[:0], np.array([0, 0, *size], np.float32), mask)]
