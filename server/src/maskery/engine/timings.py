"""Timings of one request, by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["read", "wait", "decode_image", "encode", "decode", "compose", "write"]


@dataclass(eq=False)
class Timings:
    """Filled in while the request is processed.

    Attributes:
        stages: seconds by stage, in the order of their first appearance.
        intervals: stage, start (`time.perf_counter`) and seconds of each time that a stage was entered.
        embedding: "known" if it was in the cache, "disk" if it was in the disk cache, "new" if this request encoded the
            image, "shared" if it waited for another request that did.
        pixels: encoded by this request.
        objects: of the prompt.
        known_objects: of these, the objects whose candidates were in the cache.
    """

    stages: dict[Stage, float] = field(default_factory=dict)
    intervals: list[tuple[Stage, float, float]] = field(default_factory=list)
    embedding: Literal["known", "disk", "new", "shared"] | None = None
    pixels: int = 0
    objects: int = 0
    known_objects: int = 0

    @property
    def work(self) -> float:
        """Seconds of work: all stages but the transfer of the request and waiting."""
        return sum(seconds for stage, seconds in self.stages.items() if stage not in ("read", "wait"))

    def add(self, stage: Stage, started: float, seconds: float) -> None:
        """Add seconds, since a time of `time.perf_counter`, to a stage."""
        seconds = max(0.0, seconds)
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds
        self.intervals.append((stage, started, seconds))

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Add the duration of a block to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, started, time.perf_counter() - started)
