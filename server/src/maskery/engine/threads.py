"""Blocking work off the event loop, which takes the caller's context with it: log lines know their request."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")


async def run_in(pool: ThreadPoolExecutor, work: Callable[[], Answer]) -> Answer:
    """The work's answer. A cancelled call takes its work off the pool's queue if it has not started."""
    context = contextvars.copy_context()
    # The pool keeps what was taken off its queue until a thread comes by; it shall not keep an image with it.
    waiting = [work]
    del work
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(waiting.pop()))
    finally:
        waiting.clear()
