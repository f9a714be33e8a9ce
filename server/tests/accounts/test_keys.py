import sqlite3
import threading
from pathlib import Path

import pytest

from maskery.accounts import KeyStore, NoSuchKey


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "new" / "keys.db")


def test_a_key_opens_its_account_until_it_is_revoked(store: KeyStore) -> None:
    key, text = store.create("team")
    found = store.check(text)
    assert found is not None
    assert (found.id, found.account) == (key.id, "team")
    revoked = store.revoke(key.id)
    assert revoked.revoked is not None
    assert store.check(text) is None
    with pytest.raises(NoSuchKey, match="keys list"):
        store.revoke(key.id)


def test_a_key_may_be_revoked_by_its_whole_text(store: KeyStore) -> None:
    _, text = store.create("team")
    store.revoke(text)
    assert store.check(text) is None


def test_anything_else_opens_nothing(store: KeyStore) -> None:
    _, text = store.create("team")
    other = store.create("other")[1]
    mixed = text[:16] + other[16:]
    for wrong in ("", "mk_", text[:-1], text + "x", text.upper(), mixed, "mk_000000000000_" + "x" * 43, "\ud800", "é"):
        assert store.check(wrong) is None


def test_the_database_holds_no_key_and_is_its_owners_alone(store: KeyStore, tmp_path: Path) -> None:
    _, text = store.create("team")
    file = tmp_path / "new" / "keys.db"
    assert file.stat().st_mode & 0o077 == 0
    secret = text.rsplit("_", 1)[-1]
    dump = "\n".join(sqlite3.connect(file).iterdump())
    assert "team" in dump
    assert secret not in dump


def test_all_keys_are_listed_oldest_first(store: KeyStore) -> None:
    assert not store.has_active()
    first, _ = store.create("a")
    second, _ = store.create("b")
    store.revoke(first.id)
    assert [key.id for key in store.list()] == [first.id, second.id]
    assert store.has_active()
    store.revoke(second.id)
    assert not store.has_active()


@pytest.mark.parametrize("name", ["", " ", "a" * 129, "-a", "a\nb", "<b>", "ä"])
def test_an_account_has_a_plain_name(store: KeyStore, name: str) -> None:
    with pytest.raises(ValueError, match="account's name"):
        store.create(name)


def test_many_threads_and_two_stores_share_a_file(store: KeyStore, tmp_path: Path) -> None:
    other = KeyStore(tmp_path / "new" / "keys.db")
    failures: list[Exception] = []

    def work(mine: KeyStore, theirs: KeyStore) -> None:
        try:
            for _ in range(10):
                key, text = mine.create("team")
                assert theirs.check(text)
                theirs.revoke(key.id)
                assert mine.check(text) is None
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in [(store, other), (other, store)] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(store.list()) == 60


@pytest.mark.parametrize("name", ["what?", "a?mode=memory&b=c", "50%", "%41", "a#b", "ä b"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "keys.db"
    _, text = KeyStore(file).create("team")
    assert file.stat().st_size > 0
    assert KeyStore(file).check(text)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        KeyStore(tmp_path / "file" / "keys.db")
    (tmp_path / "not.db").write_text("this is not a database, it is a text that is long enough to be read as one" * 20)
    with pytest.raises(OSError, match=r"not\.db cannot be used"):
        KeyStore(tmp_path / "not.db")
