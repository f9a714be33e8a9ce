"""The input of every engine: an image, clicks, and matrix products that measure the machine's peak."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskery.segmentation import Image, ObjectPrompt


class Chain(NamedTuple):
    """Consecutive products [rows, width] → [rows, wider] → [rows, width] and so on."""

    rows: int
    width: int
    wider: int
    products: int = 4

    @property
    def operations(self) -> float:
        return 2.0 * self.rows * self.width * self.wider * self.products

    def matrices(self) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The first left operand, and the right operands; results are about 1 in size."""
        random = np.random.default_rng(0)
        sizes = [(self.width, self.wider), (self.wider, self.width)] * (self.products // 2)
        start = random.standard_normal((self.rows, self.width), np.float32)
        return start, [random.standard_normal(each, np.float32) * np.float32(each[0] ** -0.5) for each in sizes]


# The MLP layers of ViT-B and of ViT-L.
_CHAINS = (Chain(4096, 768, 3072), Chain(4096, 1024, 4096))
_REPEATS = 3


def image(side: int) -> Image:
    """Noise of the network's input size: the content of an image does not change the time."""
    return Image(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


def clicks(side: int, objects: int) -> list[ObjectPrompt]:
    """Objects with one point each, on the object."""
    places = np.random.default_rng(objects).integers(0, side, (objects, 1, 2)).astype(np.float32)
    return [ObjectPrompt(each, np.ones(1, np.uint8)) for each in places]


def best_rate(prepare: Callable[[Chain], Callable[[], object]]) -> float:
    """Operations per second, the best of all chains and repetitions.

    Args:
        prepare: returns a function that computes a chain once.
    """
    rates = []
    for chain in _CHAINS:
        compute = prepare(chain)
        compute()
        for _ in range(_REPEATS):
            start = time.perf_counter()
            compute()
            rates.append(chain.operations / (time.perf_counter() - start))
    return max(rates)
