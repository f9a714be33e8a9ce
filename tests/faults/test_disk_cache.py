"""The disk cache survives the end of its server, a full disk, damaged files and other servers: never a wrong mask."""

import os
import random
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.running import QUICK, Server, Start, eventually, expected_eighths

pytestmark = pytest.mark.slow

HITS, FAILURES = "maskery_disk_cache_hits_total", "maskery_disk_cache_failures_total"
DAMAGED, BYTES = "maskery_disk_cache_damaged_total", "maskery_disk_cache_bytes"
MEBIBYTE = 2**20

Launch = Callable[..., Server]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def launch(start: Start, cache: Path) -> Launch:
    """Starts servers with one folder, whose memory keeps no more than one image."""

    def launch(ballast: int, limit: int = 2**30) -> Server:
        return start(
            cache_dir=cache,
            disk_cache_bytes=limit,
            cache_bytes=ballast + 100,
            environment={"FAULTS_BALLAST": str(ballast)},
        )

    return launch


def files(cache: Path) -> list[Path]:
    return [path for path in (cache / "embeddings").rglob("*") if path.is_file()]


def complete(cache: Path) -> list[Path]:
    """The files that have been written to their ends."""
    return [path for path in files(cache) if path.suffix != ".tmp"]


def total(cache: Path) -> int:
    nbytes = 0
    for path in files(cache):
        with suppress(FileNotFoundError):
            nbytes += path.stat().st_size
    return nbytes


def assert_right(server: Server, image: int) -> None:
    answer = server.segment(image, model=QUICK)
    assert answer.status == 200, answer.body
    assert answer.eighths == expected_eighths(image)


def test_a_server_killed_while_it_writes_leaves_nothing_that_is_believed(launch: Launch, cache: Path) -> None:
    interrupted = 0
    for attempt in range(4):
        server = launch(100 * MEBIBYTE)
        assert_right(server, attempt)
        eventually(lambda: any(path.suffix == ".tmp" for path in files(cache)), "a file to be written")
        server.process.kill()
        server.process.wait()
        for path in files(cache):
            if path.suffix == ".tmp":
                interrupted += path.stat().st_size < 100 * MEBIBYTE
                path.unlink()
    assert interrupted
    server = launch(100 * MEBIBYTE)
    for image in (0, 1, 2, 3, 0):
        assert_right(server, image)
    assert server.metric(DAMAGED) == 0


def test_images_are_known_after_a_kill(launch: Launch, cache: Path) -> None:
    first = launch(MEBIBYTE)
    for image in range(5):
        assert_right(first, image)
    prepared = first.prepare(3, QUICK)["id"]
    eventually(lambda: len(complete(cache)) == 5, "five files to be written")
    first.process.kill()
    first.process.wait()
    second = launch(MEBIBYTE)
    for image in range(5):
        assert_right(second, image)
    assert (second.metric(HITS), second.faults.begun("encode 3")) == (5, 0)
    assert second.get(f"/v1/images/{prepared}").status == 200


def test_a_full_disk_fails_no_request(launch: Launch, cache: Path) -> None:
    server = launch(4 * MEBIBYTE)
    assert_right(server, 1)
    eventually(lambda: len(complete(cache)) == 1, "a file to be written")
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (2 * MEBIBYTE, before[1]))
    for image in range(2, 7):
        assert_right(server, image)
    server.wait_for_metric(FAILURES, 5)
    assert len(complete(cache)) == 1
    assert server.log.count("File too large") == 1
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
    assert_right(server, 8)
    eventually(lambda: len(complete(cache)) == 2, "a file to be written")


def test_two_servers_and_someone_who_damages_their_files(launch: Launch, cache: Path) -> None:
    limit = 30 * MEBIBYTE
    servers = [launch(MEBIBYTE, limit) for _ in range(2)]
    enough = threading.Event()
    sizes: list[int] = []

    def damage() -> None:
        choice = random.Random(7)
        while not enough.wait(0.02):
            sizes.append(total(cache))
            candidates = complete(cache)
            if not candidates:
                continue
            path = choice.choice(candidates)
            with suppress(FileNotFoundError), path.open("r+b") as file:
                match choice.randrange(3):
                    case 0:
                        file.truncate(choice.randrange(MEBIBYTE))
                    case 1:
                        file.seek(choice.randrange(MEBIBYTE))
                        file.write(os.urandom(3))
                    case 2:
                        path.unlink()

    def ask(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(60):
            assert_right(servers[seed % 2], choice.randrange(50))

    with ThreadPoolExecutor(5) as pool:
        vandal = pool.submit(damage)
        try:
            for done in [pool.submit(ask, seed) for seed in range(4)]:
                done.result()
        finally:
            enough.set()
        vandal.result()
    assert sum(server.metric(HITS) for server in servers) > 10
    assert sum(server.metric(DAMAGED) for server in servers) > 0
    # Each may have written a 64th, and be writing a file, that the other does not know.
    assert max(sizes) <= limit * (1 + 1 / 64) + 3 * MEBIBYTE
