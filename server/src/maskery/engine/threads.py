"""Thread pools for blocking work."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Pools:
    """One pool for each kind of work, so that one kind does not delay another.

    Attributes:
        encode: models that encode in this process.
        decode: models that decode.
        cpu: short work without a lane: parsing requests, checking prompts, composing masks.
        load: loading models, which takes seconds.
        read: reading embeddings from disk, and small files.
        write: writing and removing embeddings on disk, by one thread, in order.
    """

    encode: ThreadPoolExecutor
    decode: ThreadPoolExecutor
    cpu: ThreadPoolExecutor
    load: ThreadPoolExecutor
    read: ThreadPoolExecutor
    write: ThreadPoolExecutor

    @classmethod
    def start(cls, workers: int) -> "Pools":
        """Pools of that many threads each, or of one."""
        sizes = {name: 1 if name == "write" else workers for name in cls.__dataclass_fields__}
        return cls(*(ThreadPoolExecutor(size, thread_name_prefix=name) for name, size in sizes.items()))

    def shutdown(self) -> None:
        """Drop queued work. Running calls end by themselves: a thread cannot be stopped."""
        for pool in (self.encode, self.decode, self.cpu, self.load, self.read, self.write):
            pool.shutdown(wait=False, cancel_futures=True)


async def run_in_thread(pool: ThreadPoolExecutor, function: Callable[[], Result]) -> Result:
    """Call `function` in a thread of the pool, with the caller's context: log lines carry the request's id.

    A cancelled call that has not started is dropped.
    """
    context = contextvars.copy_context()
    # The pool keeps dropped work until a thread is free. It must not keep the image that belongs to it.
    queued = [function]
    del function
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(queued.pop()))
    finally:
        queued.clear()
