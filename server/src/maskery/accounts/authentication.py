"""Whose key is this? Asked at every request, so mostly answered from memory."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

from maskery.accounts.executor import DatabaseExecutor
from maskery.accounts.keys import KeyRecord, KeyRepository, parse_key_id, verify_secret
from maskery.accounts.rate_limit.limits import Limits, Subject
from maskery.accounts.scopes import DEFAULT_SCOPES, Scope

_log = logging.getLogger("maskery.accounts")

# Seconds that an entry is believed: a key revoked through another server is refused after at most as many, and the
# time of one query. Five are promised.
_FRESH = 2.0

# Entries kept. An entry takes about 2 kB.
_KEPT = 20_000

# Seconds for which IDs that were never seen are gathered: nobody who is at work notices, and a flood of keys that
# were made up costs twenty queries a second at most.
_GATHER = 0.05

# IDs in one query.
_AT_ONCE = 500

_ANONYMOUS = "anonymous"

Reason = Literal["unknown", "revoked", "expired", "disabled"]


class InvalidKeyError(Exception):
    """The key opens nothing.

    Attributes:
        reason: "unknown" for anything that is no key of ours; the others are told only to who has the whole key.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Caller:
    """Who is asking.

    Attributes:
        key: ID of the key; empty without one.
        holders: whose limits count.
    """

    account: str
    key_id: str
    scopes: frozenset[Scope]
    subjects: tuple[Subject, ...] = ()


class KeyAuthenticator:
    """Checks keys. For one event loop.

    What is not in memory is asked of the database by one query at a time, for all keys that came meanwhile: a flood
    of wrong keys takes up one thread and no more, and right ones do not stand in line behind it.

    Args:
        keys: where they are kept.
        defaults: limits of accounts that have none of their own.
        clock: seconds that never go back.
        clerk: asks the database.
    """

    def __init__(
        self,
        keys: KeyRepository,
        defaults: Limits,
        clock: Callable[[], float] = time.monotonic,
        executor: DatabaseExecutor | None = None,
    ) -> None:
        self._keys, self._defaults, self._clock = keys, defaults, clock
        self._executor = executor or DatabaseExecutor()
        self._failing = False
        #: Who sends no key, where that is allowed.
        self.anonymous = Caller(
            _ANONYMOUS, "", frozenset(DEFAULT_SCOPES), (Subject("account", _ANONYMOUS, _in_force(Limits(), defaults)),)
        )
        self._entries: OrderedDict[str, tuple[float, KeyRecord]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[KeyRecord | None]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._changes = 0
        self._known_is_asked = asyncio.Event()

    async def authenticate(self, text: str) -> Caller:
        """The caller who sends this key.

        Raises:
            InvalidKeyError: it opens nothing.
            DatabaseError: the database does not answer.
        """
        key_id = parse_key_id(text)
        entry = await self._entry(key_id) if key_id else None
        if not verify_secret(entry, text) or entry is None:
            raise InvalidKeyError("unknown", "The API key is not known here; `maskery keys create` makes one.")
        key = entry.key
        if key.state == "revoked":
            raise InvalidKeyError("revoked", f"The API key {key.id} was revoked; `maskery keys create` makes another.")
        if key.state == "expired":
            raise InvalidKeyError("expired", f"The API key {key.id} has expired; `maskery keys create` makes another.")
        if entry.disabled:
            raise InvalidKeyError(
                "disabled", f"The account {key.account} is disabled; `maskery accounts enable` lets it in."
            )
        subjects = (
            Subject("account", key.account, _in_force(entry.account_limits, self._defaults)),
            Subject("key", key.id, _in_force(key.limits, Limits())),
        )
        return Caller(key.account, key.id, frozenset(key.scopes), subjects)

    def invalidate(self) -> None:
        """Believe nothing any more: something was changed through this server."""
        self._entries.clear()
        # What the database is being asked for may be an answer from before the change.
        self._changes += 1

    async def _entry(self, key_id: str) -> KeyRecord | None:
        found = self._entries.get(key_id)
        if found and self._clock() - found[0] < _FRESH:
            self._entries.move_to_end(key_id)
            return found[1]
        future = self._asked.get(key_id)
        if future is None:
            future = self._asked[key_id] = asyncio.get_running_loop().create_future()
            if found:
                self._known_is_asked.set()
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
        # Whoever goes away does not take the answer from the others.
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        """Ask the database until nothing is left to be asked."""
        try:
            while self._asked:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_GATHER):
                        await self._known_is_asked.wait()
                self._known_is_asked.clear()
                batch = dict(list(self._asked.items())[:_AT_ONCE])
                # From here on a change may be missed, so who asks from here on asks anew.
                for key_id in batch:
                    del self._asked[key_id]
                asked, changes = self._clock(), self._changes
                try:
                    found = await self._executor.run(partial(self._keys.find_records, list(batch)))
                # Whatever it is, those who wait are told; the next ones try again.
                except Exception as error:  # noqa: BLE001
                    self._note(error)
                    for future in batch.values():
                        future.set_exception(error)
                        # Where nobody waits any more, asyncio would complain.
                        future.exception()
                    continue
                self._note(None)
                for key_id, future in batch.items():
                    entry = found.get(key_id)
                    if entry and changes == self._changes:
                        self._keep(key_id, asked, entry)
                    future.set_result(entry)
        finally:
            self._asking = None

    def _note(self, error: Exception | None) -> None:
        """A line in the log when the database begins to fail, and when it answers again."""
        if error and not self._failing:
            _log.error("nobody can be let in: %s", error)
        elif self._failing and not error:
            _log.warning("the database of accounts answers again")
        self._failing = error is not None

    def _keep(self, key_id: str, asked: float, entry: KeyRecord) -> None:
        self._entries[key_id] = asked, entry
        self._entries.move_to_end(key_id)
        while len(self._entries) > _KEPT:
            self._entries.popitem(last=False)


def _in_force(own: Limits, otherwise: Limits) -> Limits:
    """Own limits, and where they say nothing those of everybody."""
    said = {name: amount for name, amount in asdict(own).items() if amount is not None}
    return replace(otherwise, **said)
