"""Time to check a key, with few and with many keys stored."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from maskery.accounts import AccountStore, InvalidKeyError, KeyAuthenticator, Limits
from maskery.accounts.schema import api_keys

# Number of checks of keys that are looked up in batches.
_SLOW = 100

# Rows in one statement.
_ROWS = 5_000


def fill(store: AccountStore, account: str, count: int) -> list[str]:
    """Store keys and return their texts; in bulk, as creating them one by one takes minutes."""
    store.keys.create(account)
    texts = []
    for first in range(0, count, _ROWS):
        rows = []
        for _ in range(first, min(first + _ROWS, count)):
            key_id = secrets.token_hex(6)
            text = f"mk_{key_id}_{secrets.token_urlsafe(32)}"
            texts.append(text)
            hashed = hashlib.sha256(text.encode()).digest()
            rows.append({"id": key_id, "hash": hashed, "account": account, "created": time.time()})
        with store.database.writing() as connection:
            connection.execute(api_keys.insert(), rows)
    return texts


def measure(database: str | Path, count: int, checks: int) -> dict[str, float]:
    """Median microseconds of a check, by kind of key, with `count` keys stored."""
    store = AccountStore.open(database)
    try:
        texts = fill(store, f"bench-{secrets.token_hex(4)}", count)
        return asyncio.run(_measure(store, texts, checks))
    finally:
        store.close()


async def _measure(store: AccountStore, texts: list[str], checks: int) -> dict[str, float]:
    now = 0.0
    authenticator = KeyAuthenticator(store.keys, Limits(), lambda: now)
    chosen = [texts[secrets.randbelow(len(texts))] for _ in range(checks)]
    unknown = [f"mk_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}" for _ in range(checks)]
    good = chosen[0]

    async def refused(text: str) -> None:
        try:
            await authenticator.authenticate(text)
        except InvalidKeyError:
            return
        raise AssertionError("an invalid key was accepted")

    async def expired(text: str) -> None:
        """Check a key whose cached result has expired."""
        nonlocal now
        now += 60
        await authenticator.authenticate(text)

    return {
        "valid, cached": await _median([good] * checks, authenticator.authenticate),
        "valid, cache expired": await _median([good] * checks, expired),
        "valid, not cached (batched for 50 ms)": await _median(chosen[1 : _SLOW + 1], authenticator.authenticate),
        "wrong secret of a known ID": await _median([good[:-1] + ("a" if good[-1] != "a" else "b")] * checks, refused),
        "unknown ID (batched for 50 ms)": await _median(unknown[:_SLOW], refused),
    }


async def _median(texts: list[str], check: Callable[[str], Awaitable[object]]) -> float:
    spent = []
    for text in texts:
        started = time.perf_counter()
        await check(text)
        spent.append(time.perf_counter() - started)
    return median(spent) * 1e6
