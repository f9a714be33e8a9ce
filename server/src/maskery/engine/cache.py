"""A cache limited by the bytes of its values, and the keys of embeddings in it."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

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


class _Owned(Protocol):
    @property
    def owner(self) -> str: ...


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


OwnedKey = TypeVar("OwnedKey", bound=_Owned)
Value = TypeVar("Value", bound=_Sized)


@dataclass(eq=False)
class _Entry(Generic[Value]):
    value: Value
    used: float


class LruCache(Generic[OwnedKey, Value]):
    """Least recently used (LRU) cache with a share for each owner of keys. Not thread-safe.

    When the cache is full, values that were not used for `idle_seconds` are evicted first. Then the owner with the most
    bytes loses its least recently used one. Of n owners, one that uses no more than an n-th of the cache therefore
    keeps its values, however many the others add.

    Args:
        max_bytes: of all values together; a value larger than that is not kept.
        idle_seconds: see above.
        on_removed: called with every key that leaves the cache.

    Attributes:
        nbytes: of all values.
        hits, misses, evictions, evicted_bytes: since the start. `remove` is not an eviction.
    """

    def __init__(
        self, max_bytes: int, idle_seconds: float, on_removed: Callable[[OwnedKey], None] = lambda _: None
    ) -> None:
        self.max_bytes = max_bytes
        self.nbytes = self.hits = self.misses = self.evictions = self.evicted_bytes = 0
        self._idle_seconds = idle_seconds
        self._on_removed = on_removed
        # By owner, the least recently used first.
        self._shares: dict[str, OrderedDict[OwnedKey, _Entry[Value]]] = {}
        self._nbytes: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(map(len, self._shares.values()))

    def __contains__(self, key: OwnedKey) -> bool:
        return self.peek(key) is not None

    def get(self, key: OwnedKey) -> Value | None:
        """The value, which becomes the most recently used. Counts a hit or a miss."""
        value = self.peek(key)
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        self.touch(key)
        return value

    def touch(self, key: OwnedKey) -> None:
        """Make a value in the cache the most recently used."""
        share = self._shares[key.owner]
        share[key].used = time.monotonic()
        share.move_to_end(key)

    def peek(self, key: OwnedKey) -> Value | None:
        """The value, without counting or changing its last use."""
        share = self._shares.get(key.owner, OrderedDict())
        return share[key].value if key in share else None

    def put(self, key: OwnedKey, value: Value, used: float | None = None) -> None:
        """Add or replace a value, and evict others if necessary.

        Args:
            used: its last use on the monotonic clock, not before that of the owner's other values; None: now.
        """
        if value.nbytes > self.max_bytes:
            self.remove(key)
            return
        self._pop(key)
        entry = _Entry(value, time.monotonic() if used is None else used)
        self._shares.setdefault(key.owner, OrderedDict())[key] = entry
        self._count(key.owner, value.nbytes)
        while self.nbytes > self.max_bytes:
            evicted = self._choose(key)
            self.evictions += 1
            self.evicted_bytes += self._shares[evicted.owner][evicted].value.nbytes
            self.remove(evicted)

    def remove(self, key: OwnedKey) -> None:
        """Remove a value, if it is there."""
        if self._pop(key):
            self._on_removed(key)

    def _choose(self, new: OwnedKey) -> OwnedKey:
        """The value to evict: any but the new one."""
        # The new one is its owner's last: it comes first only where it is the only one.
        oldest = {owner: key for owner, share in self._shares.items() if (key := next(iter(share))) != new}
        key = min(oldest.values(), key=lambda key: self._shares[key.owner][key].used)
        if time.monotonic() - self._shares[key.owner][key].used < self._idle_seconds:
            key = oldest[max(oldest, key=lambda owner: self._nbytes[owner])]
        return key

    def _pop(self, key: OwnedKey) -> bool:
        share = self._shares.get(key.owner, OrderedDict())
        entry = share.pop(key, None)
        if entry is None:
            return False
        self._count(key.owner, -entry.value.nbytes)
        if not share:
            del self._shares[key.owner], self._nbytes[key.owner]
        return True

    def _count(self, owner: str, nbytes: int) -> None:
        self.nbytes += nbytes
        self._nbytes[owner] += nbytes


class EmbeddingCache(LruCache[Key, Embedding]):
    """Embeddings in memory. For one event loop."""
