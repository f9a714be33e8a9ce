"""A browser per session and a page per test. Errors on a page's console fail its test."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from outside import leave_out

from tests.playground import browser as chromium

if TYPE_CHECKING:
    from tests.playground.driver import Driver


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    reason = chromium.missing()
    if reason:
        leave_out(reason)
    with chromium.launch() as launched:
        yield launched


@pytest.fixture
def open_page(browser: Any, server: Any) -> Iterator[Callable[..., "Driver"]]:
    """Opens pages of the server. Keyword arguments are options of Playwright's contexts."""
    from tests.playground.driver import Driver

    drivers: list[Driver] = []

    def make(at: Any = server, visit: bool = True, **options: Any) -> Driver:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        drivers.append(Driver(context.new_page(), at.url, at.key))
        if visit:
            drivers[-1].visit()
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.page.context.close()
    for driver in drivers:
        assert not driver.unexpected_errors
        assert driver.origins <= {driver.url}


@pytest.fixture
def page(open_page: Callable[..., "Driver"]) -> "Driver":
    return open_page()
