"""Scenes as arrays, made in a process of its own beside the training."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset

from maskery.models.builtin.nano_prompt import lab_colours
from training.data import Library
from training.scenes import Scene, Scenes

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_PART = 0.3


@dataclass(frozen=True, eq=False)
class Batch:
    """Images and, for each, what is asked.

    Attributes:
        pixels: uint8 [images, side, side, 3].
        colours: float32 [images, side / 4, side / 4, 3], see `lab_colours`.
        meant: uint8 [images, prompts, side / 2, side / 2], opacity of what is meant.
        whole: likewise, of the whole that it is part of, or is.
    """

    pixels: Bytes
    colours: Floats
    meant: Bytes
    whole: Bytes


class Batches(IterableDataset[Batch]):
    """Batches without end; the n-th depends on the seed and n alone.

    Args:
        library: what scenes are made of.
        seed: of everything random.
        first: number of the first batch.
        side: of the images.
        images: in a batch.
        prompts: for each image.
    """

    def __init__(self, library: Library, seed: int, first: int, side: int, images: int, prompts: int) -> None:
        self._scenes = Scenes(library)
        self._seed, self._first = seed, first
        self._side, self._images, self._prompts = side, images, prompts

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        worker = torch.utils.data.get_worker_info()
        index, step = (self._first + worker.id, worker.num_workers) if worker else (self._first, 1)
        while True:
            yield self._make(np.random.default_rng((self._seed, index)))
            index += step

    def _make(self, random: np.random.Generator) -> Batch:
        scenes = [self._scenes.draw(random, self._side) for _ in range(self._images)]
        asked = [_ask(scene, self._prompts, random) for scene in scenes]
        pixels = np.stack([scene.pixels for scene in scenes])
        quarter = (self._side // 4, self._side // 4)
        small = [cv2.resize(each, quarter, interpolation=cv2.INTER_AREA).astype(np.uint8) for each in pixels]
        colours = np.stack([lab_colours(each) for each in small])
        meant, whole = (np.stack([[_half(pair[which]) for pair in pairs] for pairs in asked]) for which in (0, 1))
        return Batch(pixels, colours, meant, whole)


def loader(batches: Batches, workers: int) -> Iterator[Batch]:
    """The batches, made by other processes."""
    ahead = 4 if workers else None
    return iter(DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=ahead))


def _ask(scene: Scene, prompts: int, random: np.random.Generator) -> list[tuple[Bytes, Bytes]]:
    """What is meant, and the whole of it; different targets before the same twice."""
    order = random.permutation(len(scene.targets))
    chosen = []
    for index in range(prompts):
        target = scene.targets[order[index % len(order)]]
        parts = [part for part in target.parts if part.mean() > 0.004]
        part = bool(parts) and random.random() < _PART
        chosen.append((parts[random.integers(len(parts))] if part else target.whole, target.whole))
    return chosen


def _half(mask: Bytes) -> Bytes:
    side = len(mask) // 2
    return cv2.resize(mask * np.uint8(255), (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
