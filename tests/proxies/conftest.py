"""Three servers, and a proxy before them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxies.running import Proxy, Servers


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path)
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(params=["nginx", "haproxy"])
def address(request: pytest.FixtureRequest, servers: Servers) -> Iterator[str]:
    """The address of a proxy before the three servers."""
    proxy = Proxy()
    try:
        yield proxy.start(request.param, servers)
    finally:
        proxy.remove()
