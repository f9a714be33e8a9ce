"""More images than the cache holds, asked for by many at once: everybody gets the answer he would get alone.

`make soak` does the same at length, and holds memory too.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.soak import model
from benchmarks.soak.__main__ import MAX_GROWTH, Plan, Result, soak
from benchmarks.soak.questions import PROMPTS, Question, answerer, image, points, questions
from benchmarks.soak.traffic import Seen, compare
from maskery.api.schemas.rendering import render
from maskery.engine import Job, Prompt, Upload, segment_directly
from maskery.models import Registry, Store
from maskery.segmentation import ImageLimits, Mask, PromptLimits, Segmentation

IMAGES = 40


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return soak(Plan(requests=400, early=100, images=IMAGES, kept=10, clients=8), tmp_path_factory.mktemp("soak"))


def test_400_answers_of_8_clients_are_those_of_each_alone(result: Result) -> None:
    seen = result.seen
    assert seen.wrong == []
    assert sum(seen.answers.values()) == 400
    assert min(seen.answers.values()) > 100
    assert seen.lowest_iou >= 0.999
    assert seen.largest_difference <= 0.01


def test_images_came_and_went_while_they_were_asked_for(result: Result) -> None:
    metrics = result.metrics
    assert metrics["maskery_cache_evictions_total"] > IMAGES
    assert metrics["maskery_cache_hits_total"] > 100
    assert metrics["maskery_cache_images"] <= 10
    assert metrics["maskery_cache_bytes"] <= metrics["maskery_cache_max_bytes"]
    assert metrics["maskery_prepared_images"] <= result.seen.prepared
    assert result.seen.prepared > IMAGES
    assert metrics["maskery_decoded_requests_total"] >= max(400, metrics["maskery_decode_calls_total"])
    assert metrics["maskery_encoder_restarts_total"] == 0
    assert metrics["maskery_requests_in_flight"] == 0


def test_what_both_processes_hold_is_reported(result: Result) -> None:
    assert set(result.growth) == {"server", "encoder"}
    assert all(nbytes > 50 * 2**20 for nbytes in (*result.early.values(), *result.late.values()))


def test_growth_is_told_by_process() -> None:
    result = Result(Seen(), {"server": 100, "encoder": 200}, {"server": 106, "encoder": 190}, {}, 1)
    assert result.growth["server"] > MAX_GROWTH > 0 > result.growth["encoder"]


Answers = tuple[Callable[[int, int], Mask], Callable[[int, int], Segmentation]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What is right by image and prompt, as a mask and as all of the answer."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home / "models")
    store.install_from_folder(model.NAME, model.write(home / "network"))
    models, images = Registry(store=store), [image(number) for number in range(3)]

    def whole(number: int, prompt: int) -> Segmentation:
        asked = Prompt(points(Question(number, prompt, False)))
        job = Job(model.NAME, Upload(images[number]), asked)
        return segment_directly(models, ImageLimits(), PromptLimits(), job)

    return answerer(models, model.NAME, images), whole


def test_an_answer_to_another_question_would_be_noticed(answers: Answers) -> None:
    right, whole = answers
    for prompt in range(PROMPTS):
        answer = json.loads(render(whole(0, prompt), "b64_json"))
        alike, difference = compare(answer, right(0, prompt))
        assert alike == 1
        assert difference < 1e-6
        others = [(0, other) for other in range(PROMPTS) if other != prompt] + [(1, prompt), (2, prompt)]
        for other in others:
            alike, difference = compare(answer, right(*other))
            assert alike < 0.999 or difference > 0.01


def test_every_image_is_asked_for_in_every_way() -> None:
    asked = questions(2000, 200)
    assert {question.image for question in asked} == set(range(200))
    assert {question.prompt for question in asked} == set(range(PROMPTS))
    assert questions(2000, 200) == asked
    assert 800 < sum(question.by_id for question in asked) < 1200


def test_the_network_is_the_same_in_every_run(tmp_path: Path) -> None:
    folders = [model.write(tmp_path / name) for name in "ab"]
    one, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert one == other
