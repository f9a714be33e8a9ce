"""Prepared images: ids that stand for embeddings, each for one account and a limited time."""

import secrets
import time
from dataclasses import dataclass

from maskery.engine.cache import Key
from maskery.engine.errors import NotPrepared
from maskery.segmentation import Size

# Ids of one embedding cost no memory to speak of, but they do cost some.
_MOST = 100_000


@dataclass(frozen=True)
class Prepared:
    """An image that was encoded ahead.

    Attributes:
        id: that it goes by.
        account: that made it, the only one that may use it.
        key: of its embedding.
        size: of the upright image.
        created: Unix time.
    """

    id: str
    account: str
    key: Key
    size: Size
    created: int


class PreparedImages:
    """Ids, each forgotten `time_to_live` seconds after its last use, or with its embedding. For one event loop.

    Args:
        time_to_live: seconds, by a clock that no one can set.
    """

    def __init__(self, time_to_live: float) -> None:
        self.time_to_live = time_to_live
        # The least recently used first, with the time of their last use.
        self._images: dict[str, tuple[Prepared, float]] = {}
        self._by_key: dict[Key, set[str]] = {}

    def __len__(self) -> int:
        return len(self._images)

    def add(self, account: str, key: Key, size: Size) -> Prepared:
        """A new id for an embedding that is in the cache."""
        self._expire()
        while len(self._images) >= _MOST:
            self._forget(next(iter(self._images)))
        # Not to be guessed, although guessing another account's would not help.
        prepared = Prepared(f"img_{secrets.token_urlsafe(18)}", account, key, size, int(time.time()))
        self._images[prepared.id] = prepared, time.monotonic()
        self._by_key.setdefault(key, set()).add(prepared.id)
        return prepared

    def get(self, image_id: str, account: str) -> Prepared:
        """The image, which counts as used just now.

        Raises:
            NotPrepared: the account has none of this id, or no longer.
        """
        self._expire()
        prepared = self._images[image_id][0] if image_id in self._images else None
        if prepared is None or prepared.account != account:
            raise NotPrepared(f"there is no prepared image {image_id[:80]!r}, or no longer: send the image again")
        del self._images[image_id]
        self._images[image_id] = prepared, time.monotonic()
        return prepared

    def remove(self, prepared: Prepared) -> bool:
        """Forget the id; whether it was the last one of its embedding."""
        self._forget(prepared.id)
        return prepared.key not in self._by_key

    def forget_key(self, key: Key) -> None:
        """Forget every id of an embedding that is gone."""
        for image_id in list(self._by_key.get(key, ())):
            self._forget(image_id)

    def _expire(self) -> None:
        limit = time.monotonic() - self.time_to_live
        while self._images:
            oldest = next(iter(self._images))
            if self._images[oldest][1] > limit:
                break
            self._forget(oldest)

    def _forget(self, image_id: str) -> None:
        found = self._images.pop(image_id, None)
        if found is None:
            return
        ids = self._by_key[found[0].key]
        ids.discard(image_id)
        if not ids:
            del self._by_key[found[0].key]
