"""Where one request's time went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["read", "wait", "decode_image", "encode", "decode", "compose", "write"]


@dataclass(eq=False)
class Timings:
    """Filled in as a request goes its way.

    Attributes:
        stages: seconds by stage, in the order of their first appearance.
        embedding: whether it was there ("known"), was made by this request ("new"), or by another one that
            this one waited for ("shared").
    """

    stages: dict[Stage, float] = field(default_factory=dict)
    embedding: Literal["known", "new", "shared"] | None = None
    pixels: int = 0
    objects: int = 0

    @property
    def work(self) -> float:
        """Seconds that the server worked, without waiting and without the request's way here."""
        return sum(seconds for stage, seconds in self.stages.items() if stage not in ("read", "wait"))

    def add(self, stage: Stage, seconds: float) -> None:
        self.stages[stage] = self.stages.get(stage, 0.0) + max(0.0, seconds)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)
