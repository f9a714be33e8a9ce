"""The disk cache: what was written is read, anything else is a miss, and its size is bounded."""

import errno
import os
import random
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from engine.parts import embedding
from engine.test_shared_memory import ARRAYS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskery.engine import disk_cache
from maskery.engine.cache import Key
from maskery.engine.disk_cache import DiskCache
from maskery.engine.embedding_file import Damaged, pack, unpack
from maskery.segmentation import Embedding, Size

KEY = Key("team", "digest", "model", "1")

# Of a file with an embedding of 4,000 bytes, see `sized`.
ONE = len(pack("x" * 64, embedding(0, nbytes=4000)))


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path, 2**20, "1.0")


def key(name: object, owner: str = "team") -> Key:
    return KEY._replace(owner=owner, digest=str(name))


def sized(number: int) -> Embedding:
    return embedding(number % 256, nbytes=4000)


def files(cache: DiskCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def on_disk(cache: DiskCache) -> int:
    return sum(path.stat().st_size for path in files(cache))


def assert_same(one: Embedding | None, other: Embedding) -> None:
    assert one is not None
    assert (one.size, one.tokens, list(one.arrays)) == (other.size, other.tokens, list(other.arrays))
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(array, other.arrays[name])


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS)
def test_what_was_written_is_read(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    written = Embedding(arrays, Size(640, 480), 4096)
    DiskCache(tmp_path, 2**24, "1.0").put(KEY, written)
    after_restart = DiskCache(tmp_path, 2**24, "1.0")
    read = after_restart.get(KEY)
    assert_same(read, written)
    assert read is not None
    assert isinstance(read.size, Size)
    assert all(array.ctypes.data % 64 == 0 for array in read.arrays.values() if array.size)
    assert (after_restart.hits, after_restart.misses, len(after_restart)) == (1, 0, 1)


@pytest.mark.parametrize("field", Key._fields)
def test_every_part_of_the_key_counts(cache: DiskCache, field: str) -> None:
    cache.put(KEY, sized(1))
    assert cache.get(KEY._replace(**{field: "another"})) is None
    assert (cache.hits, cache.misses) == (0, 1)


def test_another_version_of_the_program_uses_none_of_the_files(cache: DiskCache, tmp_path: Path) -> None:
    cache.put(KEY, sized(1))
    assert DiskCache(tmp_path, 2**20, "1.1").get(KEY) is None


def test_keys_are_not_mixed_up_where_their_parts_meet(cache: DiskCache) -> None:
    cache.put(Key("team", "ab", "c", "1"), sized(1))
    assert cache.get(Key("team", "a", "bc", "1")) is None


def test_only_this_user_can_read_the_files_and_their_names_tell_nothing(cache: DiskCache) -> None:
    cache.put(KEY, sized(1))
    [path] = files(cache)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, cache.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for part in KEY[:3]:
        assert part not in str(path.relative_to(cache.folder.parent))
        assert part.encode() not in path.read_bytes()


def test_a_folder_that_others_can_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "embeddings").mkdir(0o755)
    cache = DiskCache(tmp_path, 2**20, "1.0")
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(tmp_path.stat().st_mode) != 0o755 or tmp_path.exists()


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="belongs to another user"):
        DiskCache(tmp_path, 2**20, "1.0")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0, 1000), bit=st.integers(0, 7), data=st.randoms(use_true_random=False))
def test_a_flipped_bit_anywhere_is_found(position: int, bit: int, data: random.Random) -> None:
    memory = pack("name", embedding(7, nbytes=data.randint(1, 300)))
    memory[position % len(memory)] ^= 1 << bit
    with pytest.raises(Damaged):
        unpack("name", memory)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\0" * len(data),
        lambda data: data + b"\0",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-3] + bytes([data[-3] ^ 128]) + data[-2:],
    ],
    ids=["a byte missing", "half", "empty", "zeros", "longer", "first byte", "a byte near the end"],
)
def test_a_damaged_file_is_a_miss_and_is_removed(cache: DiskCache, damage: object) -> None:
    cache.put(KEY, sized(1))
    [path] = files(cache)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.get(KEY) is None
    assert files(cache) == []
    assert (cache.damaged, cache.misses, len(cache), cache.nbytes) == (1, 1, 0, 0)
    cache.put(KEY, sized(2))
    assert_same(cache.get(KEY), sized(2))


def test_a_file_under_the_name_of_another_is_a_miss(cache: DiskCache) -> None:
    cache.put(key("one"), sized(1))
    [one] = files(cache)
    cache.put(key("other"), sized(2))
    [other] = set(files(cache)) - {one}
    other.write_bytes(one.read_bytes())
    assert cache.get(key("other")) is None
    assert_same(cache.get(key("one")), sized(1))


def test_a_link_is_not_followed(cache: DiskCache, tmp_path: Path) -> None:
    cache.put(KEY, sized(1))
    [path] = files(cache)
    elsewhere = path.replace(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    assert cache.get(KEY) is None
    assert elsewhere.exists()


def test_the_least_recently_used_files_make_room(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 5 * ONE, "1.0")
    for number in range(5):
        cache.put(key(number), sized(number))
    assert_same(cache.get(key(0)), sized(0))
    cache.touch(key(1))
    for number in range(5, 8):
        cache.put(key(number), sized(number))
        assert on_disk(cache) <= cache.max_bytes
    assert [number for number in range(8) if cache.get(key(number))] == [0, 1, 5, 6, 7]
    assert (cache.evictions, cache.evicted_bytes, cache.nbytes) == (3, 3 * ONE, 5 * ONE)


def test_the_order_of_use_is_known_after_a_restart(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 4 * ONE, "1.0")
    now = time.time()
    for age, number in enumerate((3, 1, 0, 2)):
        cache.put(key(number), sized(number))
        [newest] = [path for path in files(cache) if path.stat().st_mtime > now - 1]
        os.utime(newest, (now - 1000 - age, now - 1000 - age))
    later = DiskCache(tmp_path, 4 * ONE, "1.0")
    later.put(key(4), sized(4))
    later.put(key(5), sized(5))
    assert [number for number in range(6) if later.get(key(number))] == [1, 3, 4, 5]


def test_a_lower_limit_after_a_restart_is_kept(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 9 * ONE, "1.0")
    for number in range(9):
        cache.put(key(number), sized(number))
    assert on_disk(DiskCache(tmp_path, 2 * ONE, "1.0")) == 2 * ONE


def test_an_account_keeps_its_share(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10 * ONE, "1.0")
    for number in range(5):
        cache.put(key(number, "small"), sized(number))
    for number in range(50):
        cache.put(key(number, "flood"), sized(number))
    assert all(cache.get(key(number, "small")) for number in range(5))
    assert sum(cache.get(key(number, "flood")) is not None for number in range(50)) == 5


def test_an_embedding_larger_than_the_cache_is_not_written(tmp_path: Path) -> None:
    for limit in (3999, ONE - 1):
        cache = DiskCache(tmp_path, limit, "1.0")
        cache.put(KEY, sized(1))
        assert files(cache) == []
        assert cache.get(KEY) is None


def test_a_removed_embedding_is_gone(cache: DiskCache) -> None:
    cache.put(KEY, sized(1))
    cache.remove(KEY)
    cache.remove(KEY)
    cache.touch(KEY)
    assert files(cache) == []
    assert cache.get(KEY) is None
    assert (len(cache), cache.evictions) == (0, 0)


def test_two_servers_find_what_the_other_has_written(tmp_path: Path) -> None:
    one, other = (DiskCache(tmp_path, 2**20, "1.0") for _ in range(2))
    one.put(KEY, sized(1))
    assert_same(other.get(KEY), sized(1))
    assert len(other) == 1
    one.remove(KEY)
    assert other.get(KEY) is None
    assert len(other) == 0


def test_two_servers_together_exceed_the_limit_by_little(tmp_path: Path) -> None:
    limit = 100 * ONE
    servers = [DiskCache(tmp_path, limit, "1.0") for _ in range(3)]
    for number in range(600):
        servers[number % 3].put(key(number), sized(number))
        if number % 50 == 0:
            assert on_disk(servers[0]) <= limit * (1 + 2 / 64) + 3 * ONE
    assert sum(servers[0].get(key(number)) is not None for number in range(600)) >= 90


def test_many_threads_read_write_and_remove(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 20 * ONE, "1.0")

    def use(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(150):
            number = choice.randrange(40)
            found = cache.get(key(number))
            if found is None:
                cache.put(key(number), sized(number))
            else:
                assert_same(found, sized(number))
            if choice.random() < 0.05:
                cache.remove(key(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    assert cache.damaged == cache.failures == 0
    assert on_disk(cache) <= cache.max_bytes
    assert not [path for path in files(cache) if path.suffix]


def test_a_full_disk_is_logged_once_and_nothing_is_left_behind(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = disk_cache._write

    def fill(path: Path, memory: object) -> None:
        write(path, memory[:100])  # type: ignore[index]
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk_cache, "_write", fill)
    for number in range(3):
        cache.put(key(number), sized(number))
    assert files(cache) == []
    assert (cache.failures, len(cache), cache.nbytes) == (3, 0, 0)
    assert caplog.text.count("No space left on device") == 1
    monkeypatch.undo()
    cache.put(KEY, sized(1))
    assert_same(cache.get(KEY), sized(1))


def test_a_folder_that_is_deleted_while_it_is_used_is_made_again(cache: DiskCache) -> None:
    cache.put(KEY, sized(1))
    [path] = files(cache)
    path.unlink()
    path.parent.rmdir()
    cache.folder.rmdir()
    assert cache.get(KEY) is None
    cache.put(KEY, sized(1))
    assert_same(cache.get(KEY), sized(1))
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_interrupted_writes_are_removed_when_they_are_old(cache: DiskCache, tmp_path: Path) -> None:
    cache.put(KEY, sized(1))
    [path] = files(cache)
    abandoned, recent = path.with_suffix(".1-1.tmp"), path.with_suffix(".1-2.tmp")
    for each in (abandoned, recent):
        each.write_bytes(b"half")
    os.utime(abandoned, (time.time() - 700, time.time() - 700))
    again = DiskCache(tmp_path, 2**20, "1.0")
    assert files(again) == sorted([path, recent])
    assert len(again) == 1
