"""More images than the cache holds, and many clients: every mask is the one that the model gives alone.

`make soak` does the same at length, and checks the growth of memory.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak import model
from benchmarks.soak.__main__ import MAX_GROWTH, Plan, Result, soak
from benchmarks.soak.clicks import PROMPTS, clicks, expected_masks, image
from benchmarks.soak.clients import Responses, compare
from maskery.models import Registry, Store
from maskery.segmentation import Mask, to_png

IMAGES = 40


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return soak(Plan(requests=400, early=100, images=IMAGES, kept=10, clients=8), tmp_path_factory.mktemp("soak"))


def test_400_masks_of_8_clients_are_those_of_the_model_alone(result: Result) -> None:
    responses = result.responses
    assert responses.wrong == []
    assert sum(responses.counts.values()) == 400
    assert min(responses.counts.values()) > 100
    assert responses.lowest_iou >= 0.999
    assert responses.largest_difference <= 0.01


def test_embeddings_were_evicted_while_they_were_needed(result: Result) -> None:
    metrics = result.metrics
    assert metrics["maskery_cache_evictions_total"] > IMAGES
    assert metrics["maskery_cache_hits_total"] > 100
    assert metrics["maskery_cache_images"] <= 10
    assert metrics["maskery_cache_bytes"] <= metrics["maskery_cache_max_bytes"]
    assert metrics["maskery_prepared_images"] <= result.responses.prepared
    assert result.responses.prepared > IMAGES
    # The others ask for an object whose candidates are known.
    assert metrics["maskery_decoded_requests_total"] + metrics["maskery_candidate_cache_hits_total"] >= 400
    assert metrics["maskery_decoded_requests_total"] >= metrics["maskery_decode_calls_total"]
    assert metrics["maskery_encoder_restarts_total"] == 0
    assert metrics["maskery_requests_in_flight"] == 0


def test_the_memory_of_both_processes_is_reported(result: Result) -> None:
    assert set(result.growth) == {"server", "encoder"}
    assert all(nbytes > 50 * 2**20 for nbytes in (*result.early.values(), *result.late.values()))


def test_growth_is_reported_by_process() -> None:
    result = Result(Responses(), {"server": 100, "encoder": 200}, {"server": 106, "encoder": 190}, {}, 1)
    assert result.growth["server"] > MAX_GROWTH > 0 > result.growth["encoder"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Mask]:
    """The mask by image and prompt, without a server."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home / "models")
    store.install_from_folder(model.NAME, model.write(home / "network"))
    return expected_masks(Registry(store=store).get(model.NAME), [image(number) for number in range(3)])


def response_with(mask: Mask) -> dict[str, Any]:
    segments = [{"value": each.value, "prompts": list(each.prompts), "score": each.score} for each in mask.segments]
    assert mask.values is not None
    return {"data": [{"b64_json": base64.b64encode(to_png(mask.values)).decode(), "segments": segments}]}


def test_the_mask_of_another_click_would_be_found_wrong(expected: Callable[[int, int], Mask]) -> None:
    for prompt in range(PROMPTS):
        response = response_with(expected(0, prompt))
        iou, difference = compare(response, expected(0, prompt))
        assert iou == 1
        assert difference < 1e-6
        others = [(0, other) for other in range(PROMPTS) if other != prompt] + [(1, prompt), (2, prompt)]
        for other in others:
            iou, difference = compare(response, expected(*other))
            assert iou < 0.999 or difference > 0.01


def test_all_images_and_prompts_occur() -> None:
    requests = clicks(2000, 200)
    assert {click.image for click in requests} == set(range(200))
    assert {click.prompt for click in requests} == set(range(PROMPTS))
    assert clicks(2000, 200) == requests
    assert 800 < sum(click.by_id for click in requests) < 1200


def test_the_network_is_the_same_in_every_run(tmp_path: Path) -> None:
    folders = [model.write(tmp_path / name) for name in "ab"]
    one, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert one == other
