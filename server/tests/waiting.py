"""For what comes about in another thread."""

import time
from collections.abc import Callable

import pytest


def until(condition: Callable[[], bool], seconds: int = 10) -> None:
    for _ in range(100 * seconds):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about")
