"""What the engine keeps on disk. Files are read in threads, and written behind the requests that they come from."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from maskery.engine.cache import Key
from maskery.engine.disk_cache import DiskCache
from maskery.engine.prepared import Prepared
from maskery.engine.prepared_files import PreparedFiles, PreparedRecord
from maskery.engine.single_flight import SingleFlight
from maskery.engine.threads import Pools, run_in_thread
from maskery.segmentation import Embedding

# Embeddings that wait to be written are in memory. A disk that cannot keep up does not get all of them.
_MAX_WAITING = 32

# Seconds between two notes on disk that a file, which is in memory, too, is in use.
_TOUCH_SECONDS = 300.0

# Seconds that a server waits for its last writes when it ends.
_CLOSE_SECONDS = 5.0


class Disk:
    """The disk cache and the files of prepared images, for one event loop.

    Args:
        cache: of embeddings.
        prepared: ids of prepared images.
        pools: their threads read and write.

    Attributes:
        skipped: embeddings that were not written, because too many were waiting.
    """

    def __init__(self, cache: DiskCache, prepared: PreparedFiles, pools: Pools) -> None:
        self.cache = cache
        self.skipped = 0
        self._prepared = prepared
        self._pools = pools
        self._reads: SingleFlight[Key, Embedding | None] = SingleFlight()
        self._writes: set[asyncio.Task[None]] = set()
        self._touch_seconds = min(_TOUCH_SECONDS, prepared.time_to_live / 4)
        # Since the last time that this was cleared.
        self._touched: set[object] = set()
        self._cleared = time.monotonic()

    async def read(self, key: Key, keep: Callable[[Embedding], Embedding]) -> Embedding | None:
        """Read an embedding. Requests for the same one at the same time read it once.

        Args:
            keep: puts it into memory, and returns what is there. A request that finds nothing to join afterwards must
                find it there, so this is a part of what they share.
        """

        async def read(_: Callable[[], None]) -> Embedding | None:
            embedding = await run_in_thread(self._pools.read, partial(self.cache.get, key))
            return keep(embedding) if embedding else None

        embedding, _ = await self._reads.do(key, read)
        return embedding

    def write(self, key: Key, embedding: Embedding) -> None:
        """Write an embedding later."""
        if len(self._writes) >= _MAX_WAITING:
            self.skipped += 1
            return
        self._later(partial(self.cache.put, key, embedding))

    def touch(self, key: Key) -> None:
        """Note on disk that an embedding is in use, which was found in memory."""
        self._touch(key, partial(self.cache.touch, key))

    def remove(self, key: Key) -> None:
        """Remove an embedding later, after it was written."""
        self._later(partial(self.cache.remove, key))

    async def read_prepared(self, image_id: str, account: str) -> PreparedRecord | None:
        """What an account's id of a prepared image stands for."""
        return await run_in_thread(self._pools.read, partial(self._prepared.read, image_id, account))

    async def write_prepared(self, prepared: Prepared) -> None:
        """Write the file of an id, so that the id is valid on other servers when the client gets it."""
        await run_in_thread(self._pools.read, partial(self._prepared.write, prepared))

    def touch_prepared(self, prepared: Prepared) -> None:
        """Note on disk that an id is in use."""
        self._touch(prepared.id, partial(self._prepared.touch, prepared.id, prepared.account))

    def remove_prepared(self, prepared: Prepared) -> None:
        """Remove an id later."""
        self._later(partial(self._prepared.remove, prepared.id, prepared.account))

    async def close(self) -> None:
        """Wait a short time for what is to be written."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=_CLOSE_SECONDS)

    def _touch(self, name: object, touch: Callable[[], None]) -> None:
        now = time.monotonic()
        if now - self._cleared > self._touch_seconds:
            self._touched.clear()
            self._cleared = now
        if name not in self._touched:
            self._touched.add(name)
            self._later(touch)

    def _later(self, function: Callable[[], None]) -> None:
        task = asyncio.create_task(run_in_thread(self._pools.write, function))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
