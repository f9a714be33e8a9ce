"""A cache of embeddings, limited by their bytes."""

from collections import OrderedDict
from collections.abc import Callable
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


class EmbeddingCache:
    """Least recently used (LRU) cache. For one event loop.

    Args:
        max_bytes: of all embeddings together; an embedding larger than that is not kept.
        on_removed: called with every key that leaves the cache.

    Attributes:
        nbytes: of all embeddings.
        hits, misses, evictions, evicted_bytes: since the start. `remove` is not an eviction.
    """

    def __init__(self, max_bytes: int, on_removed: Callable[[Key], None] = lambda _: None) -> None:
        self.max_bytes = max_bytes
        self.nbytes = self.hits = self.misses = self.evictions = self.evicted_bytes = 0
        self._on_removed = on_removed
        self._embeddings: OrderedDict[Key, Embedding] = OrderedDict()

    def __len__(self) -> int:
        return len(self._embeddings)

    def __contains__(self, key: Key) -> bool:
        return key in self._embeddings

    def get(self, key: Key) -> Embedding | None:
        """The embedding, which becomes the most recently used. Counts a hit or a miss."""
        embedding = self._embeddings.get(key)
        if embedding is None:
            self.misses += 1
            return None
        self.hits += 1
        self._embeddings.move_to_end(key)
        return embedding

    def peek(self, key: Key) -> Embedding | None:
        """The embedding, without counting or changing its last use."""
        return self._embeddings.get(key)

    def put(self, key: Key, embedding: Embedding) -> None:
        """Add or replace an embedding, and evict others if necessary."""
        if embedding.nbytes > self.max_bytes:
            self.remove(key)
            return
        replaced = self._embeddings.pop(key, None)
        if replaced is not None:
            self.nbytes -= replaced.nbytes
        self._embeddings[key] = embedding
        self.nbytes += embedding.nbytes
        while self.nbytes > self.max_bytes:
            oldest = next(iter(self._embeddings))
            self.evictions += 1
            self.evicted_bytes += self._embeddings[oldest].nbytes
            self.remove(oldest)

    def remove(self, key: Key) -> None:
        """Remove an embedding, if it is there."""
        embedding = self._embeddings.pop(key, None)
        if embedding is not None:
            self.nbytes -= embedding.nbytes
            self._on_removed(key)
