"""Warm-up: models run before the server is ready."""

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from engine.parts import Plain
from sam_folders import write_model
from samples import png, squares

from maskery.api import warmup
from maskery.engine import Engine, EngineLimits, Job, Prompt, Upload
from maskery.models import ModelNotInstalled, Registry, Store, registry
from maskery.models.runtime import compilations
from maskery.segmentation import ImageLimits, PromptLimits

MakeEngine = Callable[..., Engine]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Plain:
    model = Plain()
    monkeypatch.setitem(registry._BUILT_IN, model.name, lambda *_: model)  # type: ignore[attr-defined]
    return model


@pytest.fixture
async def make_engine() -> AsyncIterator[MakeEngine]:
    made: list[Engine] = []

    def make(store: Store | None = None, **limits: Any) -> Engine:
        defaults: dict[str, Any] = {
            "image": ImageLimits(),
            "prompt": PromptLimits(),
            "workers": 2,
            "max_requests": 10,
            "max_request_bytes": 2**20,
            "max_encodings": 10,
            "cache_bytes": 2**20,
            "candidate_bytes": 2**20,
            "share_images": False,
            "prepared_seconds": 60,
            "automatic_seconds": 60,
        }
        made.append(Engine(Registry(store=store), EngineLimits(**{**defaults, **limits})))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"share_images": True},
        {"cache_bytes": 0},
        {"max_encodings": 0},
        {"workers": 1},
        {"prompt": PromptLimits(max_objects=1, max_points=1)},
        {"image": ImageLimits(max_pixels=100)},
    ],
    ids=str,
)
async def test_warming_up_runs_the_model_under_any_limits_and_leaves_nothing_behind(
    make_engine: MakeEngine, plain: Plain, limits: dict[str, Any]
) -> None:
    engine = make_engine(**limits)
    await warmup.warm_up_model(engine, plain.name)
    assert plain.encoded == 2, "an image of each aspect ratio"
    assert sorted(objects for objects, _ in plain.decoded) == [1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4]
    assert (len(engine.cache), engine.cache.nbytes, len(engine.prepared)) == (0, 0, 0)
    assert (engine.cache.hits, engine.cache.misses, engine.cache.evictions) == (0, 0, 0)


async def test_a_model_without_batches_is_warmed_up_with_one_object(make_engine: MakeEngine, plain: Plain) -> None:
    plain.max_batch = 1
    await warmup.warm_up_model(make_engine(), plain.name)
    assert [objects for objects, _ in plain.decoded] == [1] * 4


@pytest.mark.parametrize(
    ("name", "object_counts"),
    [("team/small", (1, 2, 3, 5)), pytest.param("maskery/nano", (1, 3), marks=pytest.mark.slow)],
    ids=["SAM-HQ", "maskery/nano"],
)
async def test_after_warming_up_usual_prompts_compile_nothing(
    make_engine: MakeEngine, tmp_path: Path, name: str, object_counts: Sequence[int]
) -> None:
    store = Store(tmp_path / "models")
    store.install_from_folder("team/small", write_model(tmp_path / "folder", "sam_hq"))
    engine = make_engine(store)
    await warmup.warm_up_model(engine, name)
    before = compilations.total
    for width, height in ((64, 48), (48, 64), (60, 60)):
        image = Upload(png(squares(width, height)))
        for objects, points in product(object_counts, (1, 3)):
            prompt = Prompt([[[5 + 4 * i, 5 + 3 * number] for i in range(points)] for number in range(objects)])
            await engine.segment(Job(name, image, prompt), lambda result: result)
        box = Prompt([[[12, 12]]], boxes=[[4, 4, 25, 25]])
        await engine.segment(Job(name, image, box), lambda result: result)
    assert before
    assert compilations.total == before


async def test_warming_up_raises_the_error_of_the_model(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    with pytest.raises(ModelNotInstalled):
        await warmup.warm_up_model(engine, "team/nothing")
    plain.failures = [ValueError("broken")]
    with pytest.raises(ValueError, match="broken"):
        await warmup.warm_up_model(engine, plain.name)
