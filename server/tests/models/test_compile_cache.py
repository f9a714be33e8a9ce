"""Compiled networks are kept within a limit of size and age."""

import os
import shutil
import time
from pathlib import Path

import pytest

from maskery.models import CompileCache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompileCache:
    monkeypatch.setattr("maskery.models.compile_cache._MAX_BYTES", 1000)
    return CompileCache(tmp_path / "cache")


def fill(cache: CompileCache, model: str, revision: str = "1", nbytes: int = 400, age: float = 0) -> Path:
    folder = cache.folder(model, revision)
    assert folder is not None
    (folder / "1.blob").write_bytes(bytes(nbytes))
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def test_a_revision_has_its_own_folder_and_replaces_the_previous_one(cache: CompileCache) -> None:
    first = fill(cache, "a/b")
    assert cache.folder("a/b", "1") == first
    assert (first / "1.blob").exists()
    second = cache.folder("a/b", "2")
    assert second is not None
    assert second.parent == first.parent
    assert not first.exists()


def test_the_least_recently_used_model_is_removed_first(cache: CompileCache) -> None:
    oldest, older = fill(cache, "oldest", age=30), fill(cache, "older", age=20)
    used = fill(cache, "used")
    assert oldest.exists()
    cache.folder("used", "1")
    assert not oldest.exists()
    assert older.exists()
    assert used.exists()


def test_a_model_that_has_not_been_used_for_a_month_is_removed(cache: CompileCache) -> None:
    unused, used = fill(cache, "a", age=31 * 86400), fill(cache, "b", age=29 * 86400)
    cache.folder("c", "1")
    assert not unused.exists()
    assert used.exists()


def test_a_model_larger_than_the_limit_is_kept_while_it_is_used(cache: CompileCache) -> None:
    large = fill(cache, "a", nbytes=5000)
    assert cache.folder("a", "1") == large
    assert (large / "1.blob").exists()


def test_a_removed_model_leaves_nothing(cache: CompileCache) -> None:
    folder = fill(cache, "a/b")
    cache.remove("a/b")
    cache.remove("never/seen")
    assert not folder.parent.exists()


def test_nothing_is_kept_on_a_full_or_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert CompileCache(tmp_path / "file" / "cache").folder("a", "1") is None
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 10**10, 10**9))  # type: ignore[attr-defined]
    assert CompileCache(tmp_path / "cache").folder("a", "1") is None
