"""The tests of the engine run on asyncio, as the server does."""

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"
