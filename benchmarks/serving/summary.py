"""Latencies to statistics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.serving.workload import Outcome


def percentile(samples: Sequence[float], share: float) -> float:
    """The percentile of the samples by the nearest-rank method: always a sample, so that for few samples the high
    percentiles are the greatest one.

    Args:
        samples: at least one.
        share: above 0, at most 1.
    """
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


@dataclass(frozen=True)
class Summary:
    """Statistics of a workload. Times are in seconds.

    Attributes:
        answers: number of answers.
        throughput: answers per second.
        cpu: CPU seconds of the server per answer, on all cores together.
        errors: error messages and their counts.
        background: number of answers of the background load, and their median latency.
        stages: wall seconds per answer, from the server's metrics.
        latencies: of all answers, in order.
    """

    answers: int
    throughput: float
    mean: float
    p50: float
    p95: float
    p99: float
    cpu: float
    errors: dict[str, int]
    background: dict[str, float] | None
    stages: dict[str, float]
    latencies: list[float]


def summarize(outcome: Outcome, background: Outcome | None, cpu: float, stages: dict[str, float]) -> Summary | None:
    """Statistics of an outcome; None if no request was answered.

    Args:
        cpu: CPU seconds of the server meanwhile.
        stages: wall seconds of each stage meanwhile.
    """
    samples = outcome.latencies
    if not samples:
        return None
    answers = len(samples)
    errors = dict(outcome.errors)
    others: dict[str, float] | None = None
    if background is not None:
        others = {"answers": float(len(background.latencies))}
        if background.latencies:
            others["p50"] = percentile(background.latencies, 0.5)
        errors |= {f"background: {what}": count for what, count in background.errors.items()}
    return Summary(
        answers=answers,
        throughput=answers / outcome.seconds,
        mean=fmean(samples),
        p50=percentile(samples, 0.5),
        p95=percentile(samples, 0.95),
        p99=percentile(samples, 0.99),
        cpu=cpu / answers,
        errors=errors,
        background=others,
        stages={stage: seconds / answers for stage, seconds in stages.items()},
        latencies=[round(sample, 5) for sample in samples],
    )


def overhead(scenario: dict[str, Any], model_cost: dict[str, Any], tasks: Sequence[str]) -> tuple[float, float]:
    """CPU seconds of a request beyond those of the model, and those of the model.

    Args:
        scenario: statistics of requests that run each task once.
        model_cost: cost of the model by task.
        tasks: encode, decode 1, decode 8.
    """
    own = sum(model_cost[task]["cpu"] for task in tasks)
    return scenario["cpu"] - own, own
