"""Embeddings of the images used last, under a budget of bytes."""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from maskery.segmentation import Embedding


class Key(NamedTuple):
    """All that an embedding depends on, and who may use it.

    Attributes:
        owner: account; empty where all share.
        digest: of the file's bytes and of how EXIF was treated.
        model: its name.
        revision: of its weights, and the precision in which they run.
    """

    owner: str
    digest: str
    model: str
    revision: str


class EmbeddingCache:
    """The least recently used goes first. For one event loop.

    Args:
        max_bytes: of all embeddings together; one that is larger than that is not kept.
        on_gone: told of every key whose embedding is no longer here.

    Attributes:
        nbytes: of all embeddings here.
        hits, misses, evictions, evicted_bytes: since the start. What was removed on request is not evicted.
    """

    def __init__(self, max_bytes: int, on_gone: Callable[[Key], None] = lambda _: None) -> None:
        self.max_bytes = max_bytes
        self.nbytes = self.hits = self.misses = self.evictions = self.evicted_bytes = 0
        self._on_gone = on_gone
        self._embeddings: OrderedDict[Key, Embedding] = OrderedDict()

    def __len__(self) -> int:
        return len(self._embeddings)

    def __contains__(self, key: Key) -> bool:
        return key in self._embeddings

    def get(self, key: Key) -> Embedding | None:
        """The embedding, which counts as used just now."""
        embedding = self._embeddings.get(key)
        if embedding is None:
            self.misses += 1
            return None
        self.hits += 1
        self._embeddings.move_to_end(key)
        return embedding

    def peek(self, key: Key) -> Embedding | None:
        """The embedding, as if nobody had looked."""
        return self._embeddings.get(key)

    def put(self, key: Key, embedding: Embedding) -> None:
        """Keep it, and drop what there is no more room for. One that is here already is replaced, not gone."""
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
        """Forget it, if it is here."""
        embedding = self._embeddings.pop(key, None)
        if embedding is not None:
            self.nbytes -= embedding.nbytes
            self._on_gone(key)
