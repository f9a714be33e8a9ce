"""API keys in the database: created, rotated, expired, revoked."""

import hmac
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text as sql

from maskery.accounts import AccountStore, Database, KeyRepository, Limits, NoSuchKey
from maskery.accounts import keys as module
from maskery.accounts.keys import parse_key_id, verify_secret

DAY = 86400.0
ODD = ["\0", "a\0b", "", "_", "mk_", "é", "' OR 1=1 --", "\udcff", "x" * 10_000]


def is_known(keys: KeyRepository, text: str) -> bool:
    """Whether the text is that of a key, whatever the key's state."""
    key_id = parse_key_id(text)
    return verify_secret(keys.find_records([key_id]).get(key_id), text) if key_id else False


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advances the clock."""
    clock = time.time
    passed = 0.0

    def wait(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(module.time, "time", lambda: clock() + passed)
    return wait


def test_only_the_whole_text_of_a_key_matches(keys: KeyRepository) -> None:
    key, text = keys.create("team")
    other = keys.create("other")[1]
    assert text.startswith(f"mk_{key.id}_")
    assert is_known(keys, text)
    mixed = text[:16] + other[16:]
    unknown = "mk_000000000000_" + "x" * 43
    for wrong in ("", "mk_", text[:-1], text + "x", text + "\n", text.upper(), mixed, unknown, "\ud800", "é"):
        assert not is_known(keys, wrong)


def test_the_database_contains_no_secret(keys: KeyRepository, database: Database) -> None:
    key, text = keys.create("team", "for the camera")
    keys.rotate(key.id, 60)
    secret = text.removeprefix(f"mk_{key.id}_")
    with database.reading() as connection:
        rows = repr(connection.execute(sql("SELECT * FROM api_keys")).all())
    assert "for the camera" in rows
    assert secret not in rows
    assert secret.encode() not in (row := repr(keys.get(key.id))).encode()
    assert "hash" not in row


def test_an_sqlite_file_is_accessible_to_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    store = AccountStore.open(folder / "accounts.db")
    store.keys.create("team")
    modes = {path.name: path.stat().st_mode & 0o077 for path in [folder, *folder.iterdir()]}
    store.close()
    assert {"new", "accounts.db", "accounts.db-wal"} <= set(modes)
    assert set(modes.values()) == {0}


def test_create_a_key(keys: KeyRepository) -> None:
    limits = Limits(requests_per_minute=60, pixels_per_day=2**52)
    before = time.time()
    key, _ = keys.create("team", "the camera", ["admin", "segment"], 10 * DAY, limits)
    assert keys.get(key.id) == key
    assert (key.account, key.name, key.scopes, key.limits) == ("team", "the camera", ("segment", "admin"), limits)
    assert before <= key.created <= time.time()
    assert key.expires == key.created + 10 * DAY
    assert (key.state, key.revoked, key.last_used, key.replaced_by) == ("active", None, None, None)


def test_defaults_of_a_key(keys: KeyRepository) -> None:
    key, _ = keys.create("team")
    assert (key.name, key.scopes, key.expires, key.limits) == ("", ("segment", "metrics"), None, Limits())


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({"account": ""}, "not a valid account name"),
        ({"account": "a" * 129}, "not a valid account name"),
        ({"account": "-a"}, "not a valid account name"),
        ({"account": "a\nb"}, "not a valid account name"),
        ({"account": "a\n"}, "not a valid account name"),
        ({"account": "a\0"}, "not a valid account name"),
        ({"account": "ä"}, "not a valid account name"),
        ({"name": "n" * 129}, "128 characters"),
        ({"name": "two\nlines"}, "printable"),
        ({"name": "\0"}, "printable"),
        ({"name": "\ud800"}, "printable"),
        ({"scopes": []}, "at least one scope"),
        ({"scopes": ["segment", "fly"]}, "unknown scope 'fly'"),
        ({"scopes": [""]}, "unknown scope"),
        ({"lifetime": 0}, "above 0"),
        ({"lifetime": -1}, "above 0"),
        ({"lifetime": float("nan")}, "above 0"),
        ({"lifetime": float("inf")}, "above 0"),
        ({"limits": Limits(requests_per_minute=2**31)}, "requests_per_minute"),
        ({"limits": Limits(pixels_per_day=2**53)}, "pixels_per_day"),
    ],
)
def test_a_key_with_an_invalid_value_is_not_created(keys: KeyRepository, what: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        keys.create(**{"account": "team", **what})
    assert keys.list() == []


def test_key_names_may_contain_any_printable_characters(keys: KeyRepository) -> None:
    for name in ("", "n" * 128, "Kamera Süd 📷", "' OR 1=1 --", "a, b"):
        assert keys.get(keys.create("team", name)[0].id).name == name


def test_a_key_expires(keys: KeyRepository, later: Callable[[float], None]) -> None:
    key, text = keys.create("team", lifetime=DAY)
    unlimited, _ = keys.create("team")
    later(DAY - 10)
    assert keys.get(key.id).state == "active"
    later(20)
    assert keys.get(key.id).state == "expired"
    assert keys.get(unlimited.id).state == "active"
    assert is_known(keys, text), "its owner is told that it has expired"
    for change in (lambda: keys.rotate(key.id, 0), lambda: keys.update(key.id, {"requests_per_minute": 1})):
        with pytest.raises(NoSuchKey, match="no active key"):
            change()
    assert keys.revoke(key.id).state == "revoked", "an expired key may be revoked"


def test_revoke_a_key_by_its_id_or_its_text(keys: KeyRepository) -> None:
    for name in ("id", "text"):
        key, text = keys.create("team")
        revoked = keys.revoke(key.id if name == "id" else text)
        assert (revoked.id, revoked.state) == (key.id, "revoked")
        assert keys.get(key.id) == revoked
        with pytest.raises(NoSuchKey, match="keys list"):
            keys.revoke(key.id)
        assert keys.get(key.id).revoked == revoked.revoked


@pytest.mark.parametrize("text", ODD)
def test_malformed_ids_match_no_key(keys: KeyRepository, text: str) -> None:
    keys.create("team")
    for ask in (
        keys.get,
        keys.revoke,
        lambda key_id: keys.rotate(key_id, 0),
        lambda key_id: keys.update(key_id, {"requests_per_minute": 1}),
        lambda key_id: keys.list(after=key_id),
    ):
        with pytest.raises(NoSuchKey):
            ask(text)
    assert keys.list(text) == []


def test_error_messages_contain_no_secret(keys: KeyRepository) -> None:
    key, text = keys.create("team")
    keys.revoke(text)
    unknown = "0" * 12
    for ask in (
        keys.revoke,
        lambda whole: keys.rotate(whole, 0),
        lambda whole: keys.get(whole.replace(key.id, unknown)),
    ):
        with pytest.raises(NoSuchKey) as refused:
            ask(text)
        assert text[16:] not in str(refused.value)


def test_rotate_creates_a_key_like_the_old_one(keys: KeyRepository) -> None:
    limits = Limits(concurrent_requests=3)
    old, _ = keys.create("team", "the camera", ["metrics"], 10 * DAY, limits)
    before = time.time()
    new, text = keys.rotate(old.id, overlap=DAY)
    assert is_known(keys, text)
    assert keys.get(new.id) == new
    assert new.id != old.id
    assert (new.account, new.name, new.scopes, new.limits) == ("team", "the camera", ("metrics",), limits)
    assert new.expires == pytest.approx(new.created + 10 * DAY)
    assert (new.last_used, new.replaced_by) == (None, None)
    left = keys.get(old.id)
    assert (left.state, left.replaced_by) == ("active", new.id)
    assert left.expires == pytest.approx(before + DAY, abs=5)


def test_rotate_without_overlap_expires_the_old_key_at_once(keys: KeyRepository) -> None:
    old, text = keys.create("team")
    new, _ = keys.rotate(text, overlap=0)
    assert keys.get(old.id).state == "expired"
    assert (keys.get(new.id).state, new.expires) == ("active", None)


def test_rotate_does_not_extend_the_lifetime_of_the_old_key(
    keys: KeyRepository, later: Callable[[float], None]
) -> None:
    old, _ = keys.create("team", lifetime=DAY)
    later(DAY / 2)
    new, _ = keys.rotate(old.id, overlap=7 * DAY)
    assert keys.get(old.id).expires == old.expires
    assert new.expires == pytest.approx(time.time() + DAY, abs=5)
    later(DAY * 0.6)
    assert [key.state for key in keys.list()] == ["expired", "active"]


def test_a_key_is_rotated_once(keys: KeyRepository) -> None:
    """What is left of its lifetime would be taken for the lifetime of the next key."""
    old, _ = keys.create("team")
    new, _ = keys.rotate(old.id, overlap=DAY)
    with pytest.raises(NoSuchKey, match=f"was replaced by '{new.id}'"):
        keys.rotate(old.id, overlap=DAY)
    third, _ = keys.rotate(new.id, overlap=DAY)
    assert third.expires is None
    keys.revoke(old.id)


@pytest.mark.parametrize("overlap", [-1, float("nan"), float("inf"), 1e300])
def test_an_invalid_overlap_is_refused(keys: KeyRepository, overlap: float) -> None:
    old, _ = keys.create("team")
    with pytest.raises(ValueError, match="0 seconds or more"):
        keys.rotate(old.id, overlap)
    assert keys.list() == [old]


@pytest.mark.parametrize("overlap", [0, DAY])
def test_of_concurrent_rotations_one_succeeds(keys: KeyRepository, location: str | Path, overlap: float) -> None:
    old, _ = keys.create("team")
    together = threading.Barrier(6)
    others = [AccountStore.open(location) for _ in range(6)]

    def rotate(store: AccountStore) -> bool:
        together.wait(20)
        try:
            store.keys.rotate(old.id, overlap)
        except NoSuchKey:
            return False
        return True

    with ThreadPoolExecutor(len(others)) as pool:
        assert sum(pool.map(rotate, others)) == 1
    for store in others:
        store.close()
    assert len(keys.list()) == 2


def test_list_keys_by_page_oldest_first(keys: KeyRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = time.time()
    # Four keys at a time have the same creation time.
    made = []
    for number in range(12):
        monkeypatch.setattr(module.time, "time", lambda at=moment + number // 4: at)
        made.append(keys.create("even" if number % 2 == 0 else "odd")[0])
    made.sort(key=lambda key: (key.created, key.id))
    keys.revoke(made[0].id)
    ids = [key.id for key in made]
    assert [key.id for key in keys.list()] == ids
    assert [key.id for key in keys.list(limit=5)] == ids[:5]
    pages: list[str] = []
    while page := keys.list(after=pages[-1] if pages else None, limit=5):
        pages += [key.id for key in page]
    assert pages == ids
    even = [key.id for key in made if key.account == "even"]
    assert [key.id for key in keys.list("even")] == even
    assert [key.id for key in keys.list("even", after=even[1], limit=2)] == even[2:4]
    assert keys.list("other") == []


def test_update_changes_only_the_given_limits(keys: KeyRepository) -> None:
    key, _ = keys.create("team", limits=Limits(requests_per_minute=5, pixels_per_day=7))
    changed = keys.update(key.id, {"requests_per_minute": 0, "pixels_per_day": None, "concurrent_requests": 2})
    assert changed.limits == Limits(requests_per_minute=0, concurrent_requests=2)
    assert keys.get(key.id) == changed
    assert keys.update(key.id, {}) == changed
    largest = {"requests_per_minute": 2**31 - 1, "pixels_per_day": 2**53 - 1}
    assert keys.update(key.id, largest).limits == Limits(2**31 - 1, None, 2, 2**53 - 1)
    for wrong in ({"requests_per_minute": 2**31}, {"pixels_per_day": 2**53}, {"concurrent_requests": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            keys.update(key.id, wrong)
    keys.revoke(key.id)
    with pytest.raises(NoSuchKey):
        keys.update(key.id, {"requests_per_minute": 1})


def test_active_keys_are_counted_by_account(
    keys: KeyRepository, store: AccountStore, later: Callable[[float], None]
) -> None:
    assert keys.count_active() == {}
    for account in ("b", "a", "b", "off"):
        keys.create(account)
    keys.revoke(keys.create("a")[0].id)
    keys.create("a", lifetime=60)
    store.accounts.update("off", disabled=True)
    assert list(keys.count_active().items()) == [("a", 2), ("b", 2)]
    later(61)
    assert list(keys.count_active().items()) == [("b", 2), ("a", 1)]


def test_has_active(keys: KeyRepository, store: AccountStore, later: Callable[[float], None]) -> None:
    assert not keys.has_active()
    key, _ = keys.create("team", scopes=["admin"], lifetime=DAY)
    assert keys.has_active()
    store.accounts.update("team", disabled=True)
    assert not keys.has_active()
    store.accounts.update("team", disabled=False)
    assert keys.has_active()
    later(2 * DAY)
    assert not keys.has_active()
    key, _ = keys.create("team")
    assert keys.has_active()
    keys.revoke(key.id)
    assert not keys.has_active()


def test_of_concurrent_first_keys_one_is_created(store: AccountStore, location: str | Path) -> None:
    together = threading.Barrier(4)
    others = [AccountStore.open(location) for _ in range(4)]

    def create(other: AccountStore) -> bool:
        together.wait(20)
        return other.keys.create_first("local", DAY) is not None

    with ThreadPoolExecutor(len(others)) as pool:
        assert sum(pool.map(create, others)) == 1
    for other in others:
        other.close()
    (key,) = store.keys.list()
    assert (key.account, key.scopes, key.expires) == ("local", ("segment", "metrics"), key.created + DAY)


def test_a_first_key_is_created_again_when_none_is_active(keys: KeyRepository) -> None:
    created = keys.create_first("local")
    assert created
    assert is_known(keys, created[1])
    assert keys.create_first("local") is None
    keys.revoke(created[0].id)
    assert keys.create_first("local")


def test_record_uses(keys: KeyRepository) -> None:
    first, second = keys.create("team")[0], keys.create("team")[0]
    keys.record_uses({first.id: 1000.25, "000000000000": 5.0})
    keys.record_uses({})
    assert keys.get(first.id).last_used == 1000.25
    assert keys.get(second.id).last_used is None


def test_find_records_returns_those_that_exist(keys: KeyRepository, store: AccountStore) -> None:
    limits = Limits(requests_per_minute=9)
    one, two = keys.create("a", limits=limits)[0], keys.create("b")[0]
    store.accounts.update("a", {"pixels_per_day": 5}, disabled=True)
    found = keys.find_records([one.id, two.id, "000000000000", one.id])
    assert set(found) == {one.id, two.id}
    record = found[one.id]
    assert (record.key, record.account_limits, record.disabled) == (one, Limits(pixels_per_day=5), True)
    assert (found[two.id].account_limits, found[two.id].disabled) == (Limits(), False)
    assert keys.find_records([]) == {}
    assert len(keys.find_records([f"{number:012x}" for number in range(500)] + [one.id])) == 1


def test_verify_secret_compares_in_constant_time(keys: KeyRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    key, text = keys.create("team")
    record = keys.find_records([key.id])[key.id]
    for each, sent in ((record, text), (record, text[:-1]), (record, ""), (record, "\ud800"), (None, text)):
        verify_secret(each, sent)
    assert compared == [(32, 32)] * 5
    assert hmac.compare_digest is compare


def test_no_text_matches_a_missing_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.hashlib, "sha256", lambda _: type("Zeros", (), {"digest": lambda _: bytes(32)})())
    assert not verify_secret(None, "its hash is the placeholder")


def test_threads_of_two_servers_share_a_database(store: AccountStore, location: str | Path) -> None:
    other = AccountStore.open(location)

    def work(pair: tuple[AccountStore, AccountStore]) -> None:
        mine, theirs = pair
        for _ in range(5):
            key, text = mine.keys.create("team")
            assert is_known(theirs.keys, text)
            theirs.keys.revoke(key.id)
            assert mine.keys.get(key.id).state == "revoked"

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [(store, other), (other, store)] * 3))
    other.close()
    assert len(store.keys.list()) == 30
    assert [account.name for account in store.accounts.list()] == ["team"]
