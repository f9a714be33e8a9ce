"""The memory of requests is bounded by MASKERY_MAX_UPLOAD_BYTES, as docs/operating.md states."""

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.running import SLOW, Server, Start, expected_eighths, image_file

_MIB = 2**20

#: Bytes of an image's file.
FILE = 12 * _MIB
REQUESTS = 12
WORKERS = 2


def body_of(number: int) -> bytes:
    # A PNG file may have any bytes behind its end.
    file = image_file(number).ljust(FILE, b"\0")
    fields = {"model": SLOW, "image_prompt": base64.b64encode(file).decode(), "segment_prompt": [[[30, 30]]]}
    return json.dumps(fields).encode()


def memory(server: Server, name: str) -> int:
    """A field of the process' status in bytes: VmRSS is the memory now, VmHWM its maximum."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text(), re.M)
    assert found
    return int(found[1]) * 1024


@pytest.fixture(scope="module")
def server(start_for_all: Start) -> Server:
    return start_for_all(workers=WORKERS, max_upload_bytes=REQUESTS * 2 * FILE)


def test_requests_in_the_queue_take_no_more_memory_than_their_bodies(server: Server) -> None:
    assert server.segment(1).status == 200
    assert server.post(body_of(2)).status == 200
    before = memory(server, "VmRSS")
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    with ThreadPoolExecutor(REQUESTS) as clients, server.faults.set("hold-encode-100") as hold:
        pending = [clients.submit(server.post, body_of(100 + number)) for number in range(REQUESTS)]
        server.faults.wait_for("encode 100")
        server.wait_for_metric('maskery_queue_waiting{queue="encode"}', REQUESTS - 1)
        reserved = server.metric("maskery_request_bytes_in_flight")
        waiting, highest = (memory(server, name) - before for name in ("VmRSS", "VmHWM"))
        hold.unlink()
        answers = [each.result() for each in pending]
    print(f"reserved {reserved / _MIB:.0f} MiB, in the queue {waiting / _MIB:.0f}, at most {highest / _MIB:.0f}")
    assert [answer.eighths for answer in answers] == [expected_eighths(100 + number) for number in range(REQUESTS)]
    # The files are kept; the base64 text, a third larger, is freed when it is parsed.
    # The base64 text is freed when it is parsed: with it, each request would take 7/4 of its body.
    assert waiting < reserved
    assert highest < reserved + WORKERS * len(body_of(1))
