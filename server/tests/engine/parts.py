"""For the tests of the engine: a model that records its calls, a clock that tests set, and segmentations."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from samples import png

from maskery.engine import Engine, EngineLimits, Job, Timings
from maskery.segmentation import (
    Candidates,
    Earlier,
    Embedding,
    Image,
    ImageLimits,
    ObjectPrompt,
    PromptLimits,
    Segmentation,
)

SIDE = 8

ALL = EngineLimits(
    image=ImageLimits(),
    prompt=PromptLimits(),
    workers=2,
    max_requests=100,
    max_request_bytes=2**30,
    max_encodings=100,
    cache_bytes=2**20,
    candidate_bytes=2**20,
    share_images=False,
    prepared_seconds=60,
    automatic_seconds=60,
)

MakeEngine = Callable[..., Engine]


async def settle() -> None:
    """Let all tasks run that do not wait for a thread or for time."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread or process."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - other threads do not set asyncio events
            await asyncio.sleep(0.002)


class Clock:
    """A monotonic clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def stop_clock(monkeypatch: pytest.MonkeyPatch, module: str, unix: float = 0.0) -> Clock:
    """Give one module a clock of its own. The event loop keeps the real one."""
    clock = Clock()
    monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=clock, time=lambda: unix))
    return clock


class Plain:
    """A model whose candidates show the image and the prompt that they were made from.

    Attributes:
        encoded: number of calls of `encode`.
        decoded: for each call of `decode`, the number of objects and the corner of the image.
        poison: decoding a point at this x raises an exception.
        failures: raised by the next encodings, first to last.
    """

    name = "test/plain"
    revision = "1"
    warmup_aspect_ratios = (1.0, 2.0)

    def __init__(self, max_batch: int = 64, encode_out_of_process: bool = False) -> None:
        self.max_batch = max_batch
        self.encode_out_of_process = encode_out_of_process
        self.encoded = 0
        self.decoded: list[tuple[int, int]] = []
        self.poison: float | None = None
        self.failures: list[Exception] = []
        self.entered = threading.Semaphore(0)
        self._gate = threading.Condition()
        self._open = True
        self._steps = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Calls do not return before the end of the block, unless `step` or `release` is called."""
        self._open = False
        try:
            yield
        finally:
            self.release()

    def step(self) -> None:
        """Let one call return: the one that is held, or the next."""
        with self._gate:
            self._steps += 1
            self._gate.notify_all()

    def release(self) -> None:
        """Let all calls return from now on."""
        with self._gate:
            self._open, self._steps = True, 0
            self._gate.notify_all()

    def _pass(self) -> None:
        self.entered.release()
        with self._gate:
            assert self._gate.wait_for(lambda: self._open or self._steps, timeout=20)
            self._steps = max(0, self._steps - 1)

    def encode(self, image: Image) -> Embedding:
        self.encoded += 1
        self._pass()
        if self.failures:
            raise self.failures.pop(0)
        return embedding(int(image.pixels[0, 0, 0]), image.size)

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
        corner = int(embedding.arrays["corner"][0])
        self.decoded.append((len(objects), corner))
        self._pass()
        if any(self.poison in each.points[:, 0] for each in objects):
            raise ValueError(f"cannot decode a point at {self.poison}")
        return [candidates_for(corner, each) for each in objects]


def embedding(corner: int, size: Any = (SIDE, SIDE), nbytes: int = 64) -> Embedding:
    return Embedding({"corner": np.full(nbytes, corner, np.uint8)}, size, 1)


def candidates_for(corner: int, prompt: ObjectPrompt) -> Candidates:
    """One candidate that covers the image; logits and score depend on image and prompt."""
    logits = np.full((1, SIDE, SIDE), 1 + corner, np.float32)
    logits[0, 0] = prompt.points[:, 0].sum()
    scores = np.array([(corner + prompt.points.sum() / 1e3) / 1e3], np.float32)
    return Candidates(logits, scores, (SIDE, SIDE))


def point(x: float, y: float = 0) -> ObjectPrompt:
    return ObjectPrompt(np.array([[x, y]], np.float32), np.ones(1, np.uint8))


def png_file(corner: int = 7) -> bytes:
    return png(np.full((6, 10, 3), corner, np.uint8))


async def segment(engine: Engine, job: Job, timings: Timings | None = None) -> Segmentation:
    return await engine.segment(job, lambda result: result, timings)


def assert_same(one: Segmentation, other: Segmentation) -> None:
    assert one.usage == other.usage
    assert len(one.masks) == len(other.masks)
    for mine, its in zip(one.masks, other.masks, strict=True):
        assert mine.score == its.score
        np.testing.assert_array_equal(mine.values, its.values)
        assert [each.prompts for each in mine.segments] == [each.prompts for each in its.segments]
