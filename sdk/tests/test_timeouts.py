"""``timeout`` is the limit of everything, whatever the server does."""

import socket
import threading
import time

import httpx
import pytest

from air import AIRefinery, APIConnectionError, APITimeoutError, ServiceUnavailableError

LIMIT = 0.25
LATE = 10  # what a busy machine may add; without a limit the test would not end


def assert_in_time(began):
    assert LIMIT - 0.05 <= time.monotonic() - began < LIMIT + LATE


BOTH_SCHEMES = pytest.mark.parametrize("stub", ["http", "https"], indirect=True)


@BOTH_SCHEMES
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda stub: stub.silent(), id="silent"),
        pytest.param(lambda stub: stub.drips("body"), id="dripping body"),
        pytest.param(lambda stub: stub.drips("body", length=False), id="dripping body of unknown length"),
        pytest.param(lambda stub: stub.drips("headers"), id="dripping headers"),
    ],
)
def test_a_call_ends_at_its_limit_whatever_the_server_does(twin, stub, fault):
    stub.plays(fault(stub))
    began = time.monotonic()
    with pytest.raises(APITimeoutError, match=r"within 0\.25 s"):
        twin.segment(timeout=LIMIT)
    assert_in_time(began)
    assert len(stub.requests) <= 1


@BOTH_SCHEMES
@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_call_on_a_reused_connection_ends_at_its_limit_too(twin, stub, part):
    stub.plays(stub.segmented(), stub.drips(part))

    def blocking(client):
        client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
        began = time.monotonic()
        with pytest.raises(APITimeoutError):
            client.images.segment("aW1hZ2U=", [[[1, 2]]], "m", timeout=LIMIT)
        assert_in_time(began)

    async def awaiting(client):
        await client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
        began = time.monotonic()
        with pytest.raises(APITimeoutError):
            await client.images.segment("aW1hZ2U=", [[[1, 2]]], "m", timeout=LIMIT)
        assert_in_time(began)

    twin.run(blocking if twin.kind == "sync" else awaiting)
    assert len({request.connection for request in stub.requests}) == 1


def test_your_own_http_client_ends_a_dripping_body_too(stub):
    stub.plays(stub.drips("body"))
    with httpx.Client() as http, pytest.raises(APITimeoutError):
        AIRefinery("some-key", stub.url, http_client=http).images.segment("aW1hZ2U=", [[[1, 2]]], "m", timeout=LIMIT)


def test_retries_and_their_waits_count(twin, stub):
    stub.plays(*[stub.reply(503, {}, delay=0.1)] * 5)
    began = time.monotonic()
    with pytest.raises((APITimeoutError, ServiceUnavailableError)):
        twin.segment(timeout=LIMIT, client={"max_retries": 9})
    assert time.monotonic() - began < LIMIT + LATE
    assert len(stub.requests) <= 4


def test_time_spent_on_reading_the_image_counts(twin, stub):
    class SlowArray:
        def tolist(self):
            time.sleep(LIMIT)
            return [[[1, 2]]]

        def __array__(self):
            raise NotImplementedError

    with pytest.raises(APITimeoutError):
        twin.segment(prompt=SlowArray(), timeout=LIMIT / 2)
    assert stub.requests == []


def test_a_client_is_usable_after_a_timeout(stub):
    stub.plays(stub.drips("body"), stub.segmented())
    with AIRefinery("some-key", stub.url) as client:
        with pytest.raises(APITimeoutError):
            client.images.segment("aW1hZ2U=", [[[1, 2]]], "m", timeout=0.1)
        assert client.images.segment("aW1hZ2U=", [[[1, 2]]], "m").created


def test_no_thread_is_left_behind(stub):
    before = threading.active_count()
    with AIRefinery("some-key", stub.url) as client:
        client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("air-")]
    assert threading.active_count() <= before + 1  # the stub's own


def test_a_host_that_does_not_accept_is_a_connection_error_and_not_a_timeout(twin, monkeypatch):
    monkeypatch.setattr("air._transport._CONNECT_TIMEOUT", 0.05)
    with socket.socket() as full:  # a backlog that is never emptied
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        try:
            base_url = f"http://127.0.0.1:{full.getsockname()[1]}"
            with pytest.raises(APIConnectionError, match="does not accept connections"):
                twin.segment(client={"base_url": base_url, "max_retries": 1})
        finally:
            for filler in fillers:
                filler.close()
