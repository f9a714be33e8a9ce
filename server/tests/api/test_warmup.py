"""Warm-up: models run before the server is ready."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from engine.parts import Plain

from maskery.api import warmup
from maskery.engine import Engine, EngineLimits
from maskery.models import ModelNotInstalled, Registry, registry
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

    def make(**limits: Any) -> Engine:
        defaults: dict[str, Any] = {
            "image": ImageLimits(),
            "prompt": PromptLimits(),
            "workers": 2,
            "max_requests": 10,
            "max_request_bytes": 2**20,
            "max_encodings": 10,
            "cache_bytes": 2**20,
            "share_images": False,
            "prepared_seconds": 60,
        }
        made.append(Engine(Registry(), EngineLimits(**{**defaults, **limits})))
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
    model, embedding = await warmup.run_once(engine, plain.name)
    assert plain.encoded == 1
    assert [objects for objects, _ in plain.decoded] == [1]
    await warmup.run_other_shapes(engine, model, embedding)
    assert plain.encoded == 2, "an image of each aspect ratio"
    assert [objects for objects, _ in plain.decoded] == [1, 1, 1, 1, 2, 2, 4, 4]
    assert (len(engine.cache), engine.cache.nbytes, len(engine.prepared)) == (0, 0, 0)
    assert (engine.cache.hits, engine.cache.misses, engine.cache.evictions) == (0, 0, 0)


async def test_warming_up_raises_the_error_of_the_model(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    with pytest.raises(ModelNotInstalled):
        await warmup.run_once(engine, "team/nothing")
    plain.failures = [ValueError("broken")]
    with pytest.raises(ValueError, match="broken"):
        await warmup.run_once(engine, plain.name)
