"""Accounts in the database."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maskery.accounts import AccountRepository, AccountStore, KeyRepository, Limits, NoSuchAccount
from maskery.accounts import accounts as module


def test_create_an_account_with_limits(accounts: AccountRepository) -> None:
    before = time.time()
    made = accounts.create("team", Limits(requests_per_minute=60, images_per_minute=0))
    assert accounts.get("team") == made
    assert (made.name, made.disabled) == ("team", None)
    assert made.limits == Limits(60, 0, None, None)
    assert before <= made.created <= time.time()
    assert accounts.create("other").limits == Limits()


@pytest.mark.parametrize("name", ["a", "9", "A.b_c@d-e f", "a" * 128, "x--; DROP TABLE accounts"[:3]])
def test_valid_account_names(accounts: AccountRepository, name: str) -> None:
    assert accounts.create(name).name == name


@pytest.mark.parametrize("name", ["", " ", "a" * 129, "-a", "@a", "=1+1", "a\nb", "a\n", "a/b", "<b>", "ä", "a\0", "'"])
def test_invalid_account_names(accounts: AccountRepository, name: str) -> None:
    with pytest.raises(ValueError, match="not a valid account name"):
        accounts.create(name)
    for ask in (accounts.get, lambda odd: accounts.update(odd, disabled=True)):
        with pytest.raises(NoSuchAccount, match="accounts list"):
            ask(name)


def test_an_account_name_is_unique_and_case_sensitive(accounts: AccountRepository) -> None:
    accounts.create("team", Limits(requests_per_minute=1))
    with pytest.raises(ValueError, match="'team' already exists"):
        accounts.create("team", Limits(requests_per_minute=2))
    assert accounts.get("team").limits.requests_per_minute == 1
    assert accounts.create("Team").name == "Team"


def test_a_key_creates_its_account_and_does_not_change_an_existing_one(
    accounts: AccountRepository, keys: KeyRepository
) -> None:
    keys.create("new")
    assert accounts.get("new").limits == Limits()
    accounts.update("new", {"requests_per_minute": 7}, disabled=True)
    before = accounts.get("new")
    keys.create("new")
    assert accounts.get("new") == before


def test_accounts_are_listed_oldest_first(accounts: AccountRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, moment in (("c", 1.0), ("b", 3.0), ("a", 3.0), ("d", 2.0)):
        monkeypatch.setattr(module.time, "time", lambda at=moment: at)
        accounts.create(name)
    assert [account.name for account in accounts.list()] == ["c", "d", "a", "b"]


def test_disable_and_enable_an_account(accounts: AccountRepository) -> None:
    accounts.create("team", Limits(requests_per_minute=5))
    disabled = accounts.update("team", disabled=True)
    assert disabled.disabled == pytest.approx(time.time(), abs=5)
    assert accounts.update("team", disabled=True) == disabled, "the time of the first call is kept"
    assert accounts.update("team") == disabled
    enabled = accounts.update("team", disabled=False)
    assert (enabled.disabled, enabled.limits) == (None, Limits(requests_per_minute=5))


def test_update_changes_only_the_given_limits(accounts: AccountRepository) -> None:
    accounts.create("team", Limits(1, 2, 3, 4))
    changed = accounts.update("team", {"images_per_minute": 0, "pixels_per_day": None})
    assert changed.limits == Limits(1, 0, 3, None)
    assert accounts.get("team") == changed
    largest = Limits(2**31 - 1, 2**31 - 1, 2**31 - 1, 2**53 - 1)
    assert accounts.update("team", vars(largest)).limits == largest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requests_per_minute", 2**31),
        ("images_per_minute", 2**31),
        ("concurrent_requests", 2**31),
        ("pixels_per_day", 2**53),
        ("pixels_per_day", -1),
    ],
)
def test_an_invalid_limit_changes_nothing(accounts: AccountRepository, name: str, value: int) -> None:
    before = accounts.create("team", Limits(requests_per_minute=5))
    with pytest.raises(ValueError, match=name):
        accounts.update("team", {"requests_per_minute": 6, name: value}, disabled=True)
    assert accounts.get("team") == before
    if value > 0:
        with pytest.raises(ValueError, match=name):
            accounts.create("other", Limits(**{name: value}))
    assert [account.name for account in accounts.list()] == ["team"]


def test_concurrent_updates_are_all_kept(accounts: AccountRepository, location: str | Path) -> None:
    """Each update reads the account before it writes it."""
    accounts.create("team")
    names = list(vars(Limits()))
    together = threading.Barrier(len(names))
    others = {name: AccountStore.open(location) for name in names}

    def change(name: str) -> None:
        together.wait(20)
        for value in range(1, 11):
            others[name].accounts.update("team", {name: value})

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(change, names))
    for each in others.values():
        each.close()
    assert accounts.get("team").limits == Limits(10, 10, 10, 10)


def test_of_concurrent_creations_of_an_account_one_succeeds(location: str | Path, accounts: AccountRepository) -> None:
    together = threading.Barrier(6)
    others = [AccountStore.open(location) for _ in range(6)]

    def make(store: AccountStore) -> bool:
        together.wait(20)
        try:
            store.accounts.create("team")
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(len(others)) as pool:
        assert sum(pool.map(make, others)) == 1
    for store in others:
        store.close()
    assert [account.name for account in accounts.list()] == ["team"]
