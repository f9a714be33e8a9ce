"""The system clock jumps by a day while the server runs: only dates follow it."""

import shutil
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.running import Server, Start, body_of, expected_eighths, head_of, read_raw

DAY = 24 * 60 * 60

COMPILER = shutil.which("cc")

pytestmark = pytest.mark.skipif(
    not (COMPILER and sys.platform == "linux"), reason="the clock of a process is changed by a library in C, on Linux"
)


class Clock:
    """Offset of the system clock as seen by a server and its encoder process."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self._library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O1", "-o", self._library, source], check=True, timeout=60)
        self._file.write_bytes(bytes(8))

    def set(self, seconds: int) -> None:
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "CLOCK_OFFSET": str(self._file)}


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def server(start_for_all: Start, clock: Clock) -> Server:
    server = start_for_all(environment=clock.environment, workers=1, max_queue=1, prepared_seconds=600)
    assert server.segment(1).status == 200
    return server


@pytest.fixture(params=[DAY, -DAY], ids=["forward", "back"])
def jumped(clock: Clock, request: pytest.FixtureRequest) -> int:
    clock.set(0)
    return int(request.param)


def test_running_requests_keep_their_time_limits(server: Server, clock: Clock, jumped: int) -> None:
    number = 20 if jumped > 0 else 30
    with ThreadPoolExecutor(2) as clients, server.faults.set(f"hold-encode-{number}") as hold:
        patient = clients.submit(server.segment, number, headers={"x-request-timeout": "60"})
        server.faults.wait_for(f"encode {number}")
        started = time.monotonic()
        hasty = clients.submit(server.segment, number + 1, headers={"x-request-timeout": "1"})
        server.wait_for_metric("maskery_requests_in_flight", 2)
        clock.set(jumped)
        late = hasty.result()
        assert (late.status, late.code) == (504, "deadline_exceeded")
        assert 1 <= time.monotonic() - started < 15
        assert not patient.done()
        hold.unlink()
        assert patient.result().eighths == expected_eighths(number)


def test_an_upload_in_progress_keeps_its_time_limit(server: Server, clock: Clock, jumped: int) -> None:
    body = body_of(1)
    with server.dial() as connection:
        connection.sendall(head_of(len(body), Connection="close") + body[:50])
        server.wait_for_metric("maskery_request_bytes_in_flight", 50)
        clock.set(jumped)
        connection.sendall(body[50:])
        assert read_raw(connection)[0] == 200


def test_retry_after_does_not_depend_on_the_jump(server: Server, clock: Clock, jumped: int) -> None:
    with ThreadPoolExecutor(2) as clients, server.faults.set("hold-decode-40") as hold:
        pending = [clients.submit(server.segment, 1, 40) for _ in range(2)]
        server.wait_for_metric("maskery_requests_in_flight", 2)
        clock.set(jumped)
        refused = server.segment(1)
        hold.unlink()
        assert [each.result().status for each in pending] == [200, 200]
    assert refused.status == 503
    assert 1 <= int(refused.headers["Retry-After"]) < 60
    with ThreadPoolExecutor(2) as clients, server.faults.set("hold-decode-40") as hold:
        pending = [clients.submit(server.segment, 1, 40) for _ in range(2)]
        server.wait_for_metric("maskery_requests_in_flight", 2)
        refused = server.segment(1)
        hold.unlink()
        assert [each.result().status for each in pending] == [200, 200]
    assert 1 <= int(refused.headers["Retry-After"]) < 60, "estimated from requests during the jump"


def test_prepared_images_do_not_expire_earlier_or_later(server: Server, clock: Clock, jumped: int) -> None:
    before = server.prepare(1)
    assert abs(before["created"] - time.time()) < DAY / 2
    clock.set(jumped)
    after = server.prepare(2 if jumped > 0 else 3)
    assert abs(after["created"] - time.time() - jumped) < DAY / 2, "dates follow the clock"
    assert before["expires_in"] == after["expires_in"] == 600
    for image in (before, after):
        assert server.get(f"/v1/images/{image['id']}").json == image
    clock.set(0)
    for image in (before, after):
        assert server.get(f"/v1/images/{image['id']}").json == image


def test_a_prepared_image_expires_by_the_monotonic_clock(start: Start, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    server = start(environment=clock.environment, prepared_seconds=1)
    prepared = server.prepare(1)
    clock.set(-DAY)
    time.sleep(1.1)
    answer = server.get(f"/v1/images/{prepared['id']}")
    assert (answer.status, answer.code) == (404, "image_not_prepared")


def test_keys_work_on_both_sides_of_a_jump(start: Start, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    server = start(environment=clock.environment, anonymous="false")
    assert server.process.stdout
    key = {"Authorization": f"Bearer {server.process.stdout.readline().removeprefix('Key: ').strip()}"}
    assert server.segment(1, headers={"Authorization": "Bearer wrong"}).status == 401
    for seconds in (0, DAY, -DAY, 0):
        clock.set(seconds)
        assert server.segment(1, headers=key).status == 200
