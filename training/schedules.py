"""How long, how large, on what: the two ways to train."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Steps at one size of image.

    Attributes:
        until: number of the first step after it.
        side: of the images.
        images: in a batch.
    """

    until: int
    side: int
    images: int


@dataclass(frozen=True)
class Schedule:
    """A training run. The rate of learning rises, stays, and falls to nothing over the last steps.

    Attributes:
        stages: in order.
        prompts: for each image.
        warmup, decay: steps.
        muon_lr, adam_lr: rates of learning.
        workers: processes that make scenes.
        threads: that work on clicks; 0: none of their own.
        device: that computes.
        average: how much of the averaged weights each step keeps.
    """

    stages: tuple[Stage, ...]
    prompts: int = 2
    warmup: int = 100
    decay: int = 1000
    muon_lr: float = 0.02
    adam_lr: float = 1.5e-3
    workers: int = 1
    threads: int = 0
    device: str = "cpu"
    average: float = 0.998

    @property
    def steps(self) -> int:
        return self.stages[-1].until

    def stage(self, step: int) -> Stage:
        return next(stage for stage in self.stages if step < stage.until)

    def rate(self, step: int) -> float:
        """Share of the full rate of learning."""
        return min(1.0, (step + 1) / self.warmup, (self.steps - step) / self.decay)


SCHEDULES = {
    "cpu": Schedule((Stage(1000, 128, 24), Stage(1220, 160, 16), Stage(1600, 192, 12), Stage(1850, 224, 9)), decay=600),
    # A second round, from where "cpu" ended.
    "cpu-2": Schedule((Stage(4000, 160, 18), Stage(4700, 192, 12), Stage(6000, 224, 9)), decay=1800),
    # A third, with assemblies of solids among the composites.
    "cpu-3": Schedule((Stage(8900, 160, 18), Stage(9700, 192, 12), Stage(10550, 224, 9)), decay=1900),
    # And to the end of that once more, more slowly.
    "cpu-4": Schedule((Stage(10950, 224, 9),), decay=1450),
    # A fifth: the loss falls only where the rate does, so all of it is a slow fall.
    "cpu-5": Schedule((Stage(13000, 192, 12), Stage(15100, 224, 9)), decay=11330),
    # A sixth, likewise.
    "cpu-6": Schedule((Stage(18700, 224, 9),), decay=12000),
    "gpu": Schedule(
        (Stage(12000, 160, 64), Stage(20000, 224, 48), Stage(26000, 288, 32)),
        prompts=3,
        warmup=300,
        decay=6000,
        workers=11,
        threads=4,
        device="cuda",
        average=0.9995,
    ),
    "trial": Schedule((Stage(300, 96, 24),), warmup=50, decay=100, average=0.98),
}
