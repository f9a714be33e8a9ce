"""One browser and one server per session, and a page per test. Errors on a page's console fail its test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.playground import serving

if TYPE_CHECKING:
    from tests.playground.driver import Driver


@dataclass(frozen=True)
class PlaygroundServer:
    """The server that all tests share which do not change its settings, stop it or revoke its key."""

    url: str
    key: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaygroundServer]:
    home = tmp_path_factory.mktemp("home")
    (home / "maskery.toml").write_text('preload = "maskery/grabcut"\naliases = "acme/other=maskery/grabcut"\n')
    with serving(home) as address:
        url, _, key = address.partition("/#key=")
        yield PlaygroundServer(url, key)


@contextmanager
def opening(browser: Any, server: Any) -> Iterator[Callable[..., "Driver"]]:
    """Yields a function that opens pages. At the end, closes them and checks that they caused no errors."""
    from tests.playground.driver import Driver

    drivers: list[Driver] = []

    def make(at: Any = server, connect: bool = True, **options: Any) -> Driver:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        drivers.append(Driver(context.new_page(), at.url, at.key))
        if connect:
            drivers[-1].connect()
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.page.context.close()
    for driver in drivers:
        assert not driver.unexpected_errors
        assert driver.origins <= {driver.url}


@pytest.fixture
def open_page(browser: Any, server: PlaygroundServer) -> Iterator[Callable[..., "Driver"]]:
    """Opens pages of the server. Keyword arguments are options of Playwright's contexts."""
    with opening(browser, server) as make:
        yield make


@pytest.fixture
def page(open_page: Callable[..., "Driver"]) -> "Driver":
    return open_page()


@pytest.fixture(scope="module")
def shared_page(browser: Any, server: PlaygroundServer) -> Iterator["Driver"]:
    """A page for all tests of a module that do not change its state."""
    with opening(browser, server) as make:
        yield make()
