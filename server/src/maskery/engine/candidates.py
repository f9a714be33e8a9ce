"""A cache of candidates: an object whose prompt has not changed is not decoded again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskery.engine.cache import Key, LruCache
from maskery.segmentation import Candidates, Earlier, ObjectPrompt


class CandidateKey(NamedTuple):
    """Everything that candidates depend on.

    Attributes:
        embedding: key of the embedding.
        prompt: digest of the object's prompt.
    """

    embedding: Key
    prompt: bytes

    @property
    def owner(self) -> str:
        """As of the embedding."""
        return self.embedding.owner


@dataclass(frozen=True, eq=False)
class KeyedPrompt:
    """The prompt of an object with the digests that its candidates are found by.

    Attributes:
        digests: for each number of points, from 0 to all, the digest of the prompt with only these first points.
    """

    prompt: ObjectPrompt
    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, prompt: ObjectPrompt) -> "KeyedPrompt":
        """Hash a prompt. A mask prompt takes as long as reading it: call this in a thread."""
        state = hashlib.sha256(_field(prompt.box))
        # Of the mask's pixels, eight are one byte. Its size is that of the image.
        state.update(_field(None if prompt.mask is None else np.packbits(prompt.mask)))
        digests = [state.digest()]
        for point, label in zip(prompt.points, prompt.labels, strict=True):
            state.update(point.tobytes() + label.tobytes())
            digests.append(state.digest())
        return cls(prompt, tuple(digests))


class CandidateCache(LruCache[CandidateKey, Candidates]):
    """Candidates in memory, see `LruCache`. They leave it with their embedding. For one event loop."""

    def __init__(self, max_bytes: int, idle_seconds: float) -> None:
        super().__init__(max_bytes, idle_seconds, self._forget)
        self._prompts: dict[Key, set[bytes]] = {}

    def find(self, embedding: Key, asked: KeyedPrompt) -> Candidates | None:
        """The candidates of a prompt. Counts a hit or a miss."""
        return self.get(CandidateKey(embedding, asked.digests[-1]))

    def find_earlier(self, embedding: Key, asked: KeyedPrompt) -> Earlier | None:
        """The candidates of as many of the prompt's first points as are known, where a model can continue from them."""
        for points in reversed(range(len(asked.digests) - 1)):
            known = self.peek(CandidateKey(embedding, asked.digests[points]))
            if known is not None and known.state is not None:
                return Earlier(points, known)
        return None

    def add(self, embedding: Key, asked: KeyedPrompt, candidates: Candidates) -> Candidates:
        """Add the candidates of a prompt; those that are in the cache already are kept and returned."""
        key = CandidateKey(embedding, asked.digests[-1])
        known = self.peek(key)
        if known is not None:
            return known
        self._prompts.setdefault(embedding, set()).add(key.prompt)
        self.put(key, candidates)
        if key not in self:
            self._forget(key)
        return candidates

    def remove_embedding(self, embedding: Key) -> None:
        """Remove all candidates of an embedding."""
        for prompt in list(self._prompts.get(embedding, ())):
            self.remove(CandidateKey(embedding, prompt))

    def _forget(self, key: CandidateKey) -> None:
        prompts = self._prompts.get(key.embedding, set())
        prompts.discard(key.prompt)
        if not prompts:
            self._prompts.pop(key.embedding, None)


def detached(candidates: Sequence[Candidates]) -> list[Candidates]:
    """Candidates that share no memory with other arrays, so that `nbytes` is what they occupy, and are read-only."""
    return [
        replace(
            each,
            logits=_detached(each.logits),
            scores=_detached(each.scores),
            state=each.state and {name: _detached(array) for name, array in each.state.items()},
        )
        for each in candidates
    ]


def _detached(array: NDArray[Any]) -> NDArray[Any]:
    owned = array if array.base is None and array.flags.c_contiguous else array.copy()
    owned.flags.writeable = False
    return owned


def _field(array: NDArray[Any] | None) -> bytes:
    """An array's bytes after their number; one that is absent differs from an empty one."""
    return b"-" if array is None else b"%d:" % array.nbytes + array.tobytes()
