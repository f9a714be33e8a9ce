"""Samples to numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.serving.workload import Outcome


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of all samples does not exceed (nearest rank): never a value
    between two, so that of few samples the high percentiles are the greatest one.

    Args:
        samples: at least one.
        share: above 0, at most 1.
    """
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


@dataclass(frozen=True)
class Numbers:
    """What is kept of a load. Seconds.

    Attributes:
        answers: how many there were; the percentiles are of as many.
        throughput: answers a second.
        cpu: that the server worked per answer, on all cores together.
        errors: what else was answered, and how often.
        beside: answers to what went on meanwhile, and their median.
        stages: wall seconds per answer by the server's own clocks.
        latencies: all of them, in the order of the answers.
    """

    answers: int
    throughput: float
    mean: float
    p50: float
    p95: float
    p99: float
    cpu: float
    errors: dict[str, int]
    beside: dict[str, float] | None
    stages: dict[str, float]
    latencies: list[float]


def numbers(outcome: Outcome, beside: Outcome | None, cpu: float, stages: dict[str, float]) -> Numbers | None:
    """None: no request was answered.

    Args:
        cpu: seconds that the server worked meanwhile.
        stages: wall seconds of each stage meanwhile.
    """
    samples = outcome.latencies
    if not samples:
        return None
    answers = len(samples)
    errors = dict(outcome.errors)
    others: dict[str, float] | None = None
    if beside is not None:
        others = {"answers": float(len(beside.latencies))}
        if beside.latencies:
            others["p50"] = percentile(beside.latencies, 0.5)
        errors |= {f"meanwhile: {what}": count for what, count in beside.errors.items()}
    return Numbers(
        answers=answers,
        throughput=answers / outcome.seconds,
        mean=fmean(samples),
        p50=percentile(samples, 0.5),
        p95=percentile(samples, 0.95),
        p99=percentile(samples, 0.99),
        cpu=cpu / answers,
        errors=errors,
        beside=others,
        stages={stage: seconds / answers for stage, seconds in stages.items()},
        latencies=[round(sample, 5) for sample in samples],
    )


def window_around(scenario: dict[str, Any], alone: dict[str, Any], tasks: Sequence[str]) -> tuple[float, float]:
    """CPU seconds of a request beyond the model's own, and the model's own, from a report's numbers.

    Args:
        scenario: of requests that make the model do the tasks once each.
        alone: the model's cost by task.
        tasks: encode, decode 1, decode 8.
    """
    own = sum(alone[task]["cpu"] for task in tasks)
    return scenario["cpu"] - own, own
