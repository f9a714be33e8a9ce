"""The tests of the engine run on asyncio, as the server does."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from engine.parts import ALL, MakeEngine, Plain

from maskery.engine import EncoderClient, Engine
from maskery.models import Registry, Store, registry


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Plain:
    """A model that counts its calls, as a built-in one."""
    model = Plain()
    monkeypatch.setitem(registry._BUILT_IN, model.name, lambda *_: model)  # type: ignore[attr-defined]
    return model


@pytest.fixture
async def make_engine() -> AsyncIterator[MakeEngine]:
    made: list[Engine] = []

    def make(store: Store | None = None, client: EncoderClient | None = None, **limits: Any) -> Engine:
        made.append(Engine(Registry(store=store), replace(ALL, **limits), client))
        return made[-1]

    yield make
    for each in made:
        await each.close()
