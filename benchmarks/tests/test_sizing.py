"""The simulation gives what queueing theory says where that has a formula."""

import json
import random
import statistics
from pathlib import Path

import pytest

from benchmarks.sizing import (
    VIRTUAL_NODES,
    Load,
    Outcome,
    Simulation,
    Targets,
    Times,
    hits_by_chance,
    p95,
    ring_shares,
    size,
    size_by_chance,
)

FOREVER = 10**9


def run(times: Times, load: Load, replicas: int = 1, cached: int = FOREVER, affinity: bool = True) -> Outcome:
    return Simulation(times, load, replicas, cached, affinity, seconds=4000).run()


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_encodings_wait_as_in_a_queue_of_one_server_with_a_fixed_time(busy: float) -> None:
    """M/D/1: the mean wait is busy * time / (2 * (1 - busy)) (Pollaczek and Khinchine)."""
    found = run(Times(encode=0.2, decode=0.0, click=0.0), Load(busy / 0.2, clicks=1, pause=1))
    assert statistics.mean(found.new) == pytest.approx(0.2 + busy * 0.2 / (2 * (1 - busy)), rel=0.06)


def test_clicks_wait_as_in_the_same_queue() -> None:
    found = run(Times(encode=0.0, decode=0.1, click=0.13), Load(6, clicks=1, pause=1))
    assert statistics.mean(found.new) == pytest.approx(0.13 + 0.6 * 0.1 / (2 * (1 - 0.6)), rel=0.05)


def test_encodings_have_only_the_time_that_clicks_leave() -> None:
    """The lower class of a queue with preemptive resume, for clicks that twenty sessions make nearly Poisson."""
    encode, decode, images, clicks = 1.0, 0.03, 0.05, 200
    found = run(Times(encode, decode, decode), Load(images, clicks, pause=2))
    upper, lower = images * clicks * decode, images * encode
    residual = images * (clicks * decode**2 + encode**2) / 2
    expected = encode / (1 - upper) + residual / ((1 - upper) * (1 - upper - lower)) + decode
    assert statistics.mean(found.new) == pytest.approx(expected, rel=0.1)


def test_with_affinity_an_image_is_encoded_once_and_every_further_click_is_a_hit() -> None:
    found = run(Times(0.1, 0.001, 0.002), Load(5, clicks=6, pause=1), replicas=4)
    assert found.hit_rate == 1
    assert found.encodings == len(found.new)


@pytest.mark.parametrize("replicas", [2, 3, 10])
def test_without_affinity_hits_are_as_rare_as_chance_has_it(replicas: int) -> None:
    found = run(Times(1e-6, 1e-6, 1e-6), Load(5, clicks=6, pause=0.1), replicas, affinity=False)
    assert found.hit_rate == pytest.approx(hits_by_chance(replicas, clicks=6), abs=0.01)


def test_without_affinity_the_same_work_needs_replicas_for_encoding_again() -> None:
    times, load = Times(1.0, 0.01, 0.01), Load(100, clicks=8, pause=1)
    assert hits_by_chance(1, 8) == 1
    replicas = size_by_chance(times, load, busy=0.5)
    encodings = 1 + 7 * (1 - hits_by_chance(replicas, 8))
    assert 7.5 < encodings < 8
    assert replicas == pytest.approx(100 * (encodings + 0.08) / 0.5, rel=0.01)


def test_without_a_cache_every_click_is_an_encoding() -> None:
    found = run(Times(0.001, 0.001, 0.001), Load(5, clicks=4, pause=1), cached=0)
    assert found.hit_rate == 0
    assert found.encodings == len(found.new) + len(found.clicks)
    assert (len(found.new) + len(found.clicks)) / len(found.new) == pytest.approx(4, rel=0.05)


def test_virtual_nodes_share_the_images_evenly() -> None:
    shares = ring_shares(50, random.Random(1))
    assert sum(shares) == pytest.approx(1)
    assert statistics.stdev(shares) * 50 == pytest.approx(VIRTUAL_NODES**-0.5, rel=0.3)


def test_the_95th_percentile_is_a_value_that_95_percent_do_not_exceed() -> None:
    assert p95([float(value) for value in range(1, 101)]) == 95
    assert p95([7.0]) == 7


def test_the_size_keeps_the_targets_and_one_step_less_does_not() -> None:
    times, load, targets = Times(0.5, 0.01, 0.012), Load(12, clicks=5, pause=2), Targets(click=0.1, new=1.2)
    replicas, found = size(times, load, 100, targets, seconds=400)
    assert p95(found.clicks) <= targets.click
    assert p95(found.new) <= targets.new
    assert replicas > 12 * (0.5 + 5 * 0.01)
    fewer = Simulation(times, load, replicas - 1, 100, affinity=True, seconds=400).run()
    assert p95(fewer.new) > targets.new


def test_times_are_read_from_the_results_of_the_serving_benchmark(tmp_path: Path) -> None:
    scenarios = {
        "new, 4 clients": {"stages": {"encode": 3.0}},
        "many images, 1 client": {"throughput": 20.0},
        "many images, 16 clients": {"throughput": 25.0},
        "known": {"p50": 0.05},
        "loaded": {"p50": 0.06},
        "idle": {"p50": 0.04},
    }
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"servers": {"ours": {"scenarios": scenarios}}}))
    assert Times.read(file, "ours") == Times(encode=3.0, decode=0.04, click=0.05, beside=1.5)
