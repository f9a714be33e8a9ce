"""A cache of embeddings, limited by their bytes."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from maskery.segmentation import Embedding


class Key(NamedTuple):
    """Everything that an embedding depends on, and its owner.

    Attributes:
        owner: the account; empty where all accounts share embeddings.
        digest: of the file's bytes and the EXIF rule.
        model: its name.
        revision: of the weights, and the precision.
    """

    owner: str
    digest: str
    model: str
    revision: str


@dataclass(eq=False)
class _Entry:
    embedding: Embedding
    used: float


class EmbeddingCache:
    """Least recently used (LRU) cache with a share for each owner. For one event loop.

    When the cache is full, embeddings that were not used for `idle_seconds` are evicted first. Then the owner with the
    most bytes loses its least recently used one. Of n owners, one that uses no more than an n-th of the cache therefore
    keeps its embeddings, however many the others add.

    Args:
        max_bytes: of all embeddings together; an embedding larger than that is not kept.
        idle_seconds: see above.
        on_removed: called with every key that leaves the cache.

    Attributes:
        nbytes: of all embeddings.
        hits, misses, evictions, evicted_bytes: since the start. `remove` is not an eviction.
    """

    def __init__(self, max_bytes: int, idle_seconds: float, on_removed: Callable[[Key], None] = lambda _: None) -> None:
        self.max_bytes = max_bytes
        self.nbytes = self.hits = self.misses = self.evictions = self.evicted_bytes = 0
        self._idle_seconds = idle_seconds
        self._on_removed = on_removed
        # By owner, the least recently used first.
        self._shares: dict[str, OrderedDict[Key, _Entry]] = {}
        self._nbytes: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(map(len, self._shares.values()))

    def __contains__(self, key: Key) -> bool:
        return self.peek(key) is not None

    def get(self, key: Key) -> Embedding | None:
        """The embedding, which becomes the most recently used. Counts a hit or a miss."""
        embedding = self.peek(key)
        if embedding is None:
            self.misses += 1
            return None
        self.hits += 1
        share = self._shares[key.owner]
        share[key].used = time.monotonic()
        share.move_to_end(key)
        return embedding

    def peek(self, key: Key) -> Embedding | None:
        """The embedding, without counting or changing its last use."""
        share = self._shares.get(key.owner, OrderedDict())
        return share[key].embedding if key in share else None

    def put(self, key: Key, embedding: Embedding) -> None:
        """Add or replace an embedding, and evict others if necessary."""
        if embedding.nbytes > self.max_bytes:
            self.remove(key)
            return
        self._pop(key)
        self._shares.setdefault(key.owner, OrderedDict())[key] = _Entry(embedding, time.monotonic())
        self._count(key.owner, embedding.nbytes)
        while self.nbytes > self.max_bytes:
            evicted = self._choose(key)
            self.evictions += 1
            self.evicted_bytes += self._shares[evicted.owner][evicted].embedding.nbytes
            self.remove(evicted)

    def remove(self, key: Key) -> None:
        """Remove an embedding, if it is there."""
        if self._pop(key):
            self._on_removed(key)

    def _choose(self, new: Key) -> Key:
        """The embedding to evict: any but the new one."""
        # The new one is its owner's last: it comes first only where it is the only one.
        oldest = {owner: key for owner, share in self._shares.items() if (key := next(iter(share))) != new}
        key = min(oldest.values(), key=lambda key: self._shares[key.owner][key].used)
        if time.monotonic() - self._shares[key.owner][key].used < self._idle_seconds:
            key = oldest[max(oldest, key=lambda owner: self._nbytes[owner])]
        return key

    def _pop(self, key: Key) -> bool:
        share = self._shares.get(key.owner, OrderedDict())
        entry = share.pop(key, None)
        if entry is None:
            return False
        self._count(key.owner, -entry.embedding.nbytes)
        if not share:
            del self._shares[key.owner], self._nbytes[key.owner]
        return True

    def _count(self, owner: str, nbytes: int) -> None:
        self.nbytes += nbytes
        self._nbytes[owner] += nbytes
