"""Prepared images: ids for embeddings, each valid for one account and a limited time."""

import secrets
import time
from dataclasses import dataclass

from maskery.engine.cache import Key
from maskery.engine.errors import NotPrepared
from maskery.segmentation import Size


@dataclass(frozen=True)
class Prepared:
    """An image that was encoded ahead.

    Attributes:
        id: for requests.
        account: the only one that may use it.
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
    """Ids of prepared images. For one event loop.

    An account has one id per embedding. It is removed `time_to_live` seconds after its last use, or together with the
    embedding: an account has at most as many ids as there are embeddings in the cache.

    Args:
        time_to_live: seconds on the monotonic clock.
    """

    def __init__(self, time_to_live: float) -> None:
        self.time_to_live = time_to_live
        # The least recently used first, with the time of their last use.
        self._images: dict[str, tuple[Prepared, float]] = {}
        # Ids by embedding and account.
        self._by_key: dict[Key, dict[str, str]] = {}

    def __len__(self) -> int:
        return len(self._images)

    def add(self, account: str, key: Key, size: Size) -> Prepared:
        """The account's id for an embedding in the cache: a new one, or the existing one, which is a use."""
        self._expire()
        existing = self._by_key.get(key, {}).get(account)
        if existing:
            return self.get(existing, account)
        # It begins with the digest, by which clients and proxies find the server that knows the image. The rest is hard
        # to guess, although the id of another account is useless.
        name = f"img_{key.digest[:32]}_{secrets.token_urlsafe(18)}"
        prepared = Prepared(name, account, key, size, int(time.time()))
        self.restore(prepared)
        return prepared

    def restore(self, prepared: Prepared) -> None:
        """Make an id valid that was made before, for an embedding in the cache. This is a use."""
        self._images[prepared.id] = prepared, time.monotonic()
        self._by_key.setdefault(prepared.key, {})[prepared.account] = prepared.id

    def get(self, image_id: str, account: str) -> Prepared:
        """The prepared image. This is a use: its time to live begins anew.

        Raises:
            NotPrepared: the account has no prepared image with this id, or it has expired.
        """
        self._expire()
        prepared = self._images[image_id][0] if image_id in self._images else None
        if prepared is None or prepared.account != account:
            raise NotPrepared(f"there is no prepared image {image_id[:100]!r}, or it has expired: send the image again")
        del self._images[image_id]
        self._images[image_id] = prepared, time.monotonic()
        return prepared

    def remove(self, image_id: str) -> None:
        """Remove an id, if it is there."""
        if image_id in self._images:
            prepared, _ = self._images.pop(image_id)
            ids = self._by_key[prepared.key]
            del ids[prepared.account]
            if not ids:
                del self._by_key[prepared.key]

    def remove_key(self, key: Key) -> None:
        """Remove all ids of an embedding."""
        for image_id in list(self._by_key.get(key, {}).values()):
            self.remove(image_id)

    def _expire(self) -> None:
        limit = time.monotonic() - self.time_to_live
        while self._images:
            oldest = next(iter(self._images))
            if self._images[oldest][1] > limit:
                break
            self.remove(oldest)
