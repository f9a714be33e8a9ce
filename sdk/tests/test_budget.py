"""When a call is retried, how long it waits, and what it raises in the end."""

import time
from email.utils import formatdate

import pytest

from air import APIConnectionError, APIStatusError, RateLimitError, ServiceUnavailableError
from air._budget import parse_retry_after, seconds_to_wait


@pytest.mark.parametrize("status", [429, 502, 503])
def test_temporary_statuses_are_retried(twin, stub, status):
    stub.plays(stub.error(status), stub.error(status), stub.segmented())
    assert twin.segment().data[0].score == 0.9
    assert len(stub.requests) == 3
    assert len({request.body for request in stub.requests}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422, 500, 504])
def test_other_statuses_are_not_retried(twin, stub, status):
    stub.plays(stub.error(status))
    with pytest.raises(APIStatusError):
        twin.segment()
    assert len(stub.requests) == 1


@pytest.mark.parametrize("fault", ["hangs_up", "breaks_off"])
def test_a_broken_connection_is_retried(twin, stub, fault):
    stub.plays(getattr(stub, fault)(), stub.segmented())
    assert twin.segment().created == 1_700_000_000
    assert len(stub.requests) == 2


@pytest.mark.parametrize("fault", ["hangs_up", "breaks_off"])
def test_a_connection_that_always_breaks_is_a_typed_error(twin, stub, fault, key):
    stub.plays(getattr(stub, fault)())
    with pytest.raises(APIConnectionError, match="broke") as caught:
        twin.segment()
    assert len(stub.requests) == 3
    assert key not in str(caught.value)


def test_a_garbled_encoding_counts_as_a_broken_connection(twin, stub):
    stub.plays(stub.reply(200, b"not gzip", {"Content-Encoding": "gzip"}), stub.segmented())
    assert twin.segment().created
    assert len(stub.requests) == 2


def test_an_unreachable_server_is_a_typed_error_that_names_its_address(twin):
    with pytest.raises(APIConnectionError, match=r"127\.0\.0\.1:1 .*is the server running"):
        twin.segment(client={"base_url": "http://127.0.0.1:1"})


def test_max_retries_counts_the_attempts_after_the_first(twin, stub):
    stub.plays(stub.error(503))
    for retries in (0, 1, 4):
        stub.requests.clear()
        with pytest.raises(ServiceUnavailableError):
            twin.segment(client={"max_retries": retries})
        assert len(stub.requests) == retries + 1


def test_retry_after_is_the_least_wait_and_the_header_has_the_remaining_time(twin, stub):
    stub.plays(stub.error(429, {"Retry-After": "1"}), stub.segmented())
    twin.segment(timeout=10)
    first, second = stub.requests
    assert 1 <= second.at - first.at < 9
    sent = [float(request.headers["x-request-timeout"]) for request in stub.requests]
    assert 0 < sent[1] <= sent[0] - 1


def test_a_wait_beyond_the_deadline_is_not_started_and_the_last_error_is_raised(twin, stub):
    stub.plays(stub.error(429, {"Retry-After": "3600"}, message="slow down"))
    began = time.monotonic()
    with pytest.raises(RateLimitError, match="slow down") as caught:
        twin.segment()
    assert time.monotonic() - began < 30
    assert caught.value.retry_after == 3600
    assert len(stub.requests) == 1


def test_backoff_doubles_up_to_a_ceiling_and_is_spread_over_its_whole_range(monkeypatch):
    monkeypatch.setattr("air._budget._FIRST_WAIT", 0.5)
    for failures, ceiling in ((1, 0.5), (2, 1), (3, 2), (10, 8)):
        waits = [seconds_to_wait(APIConnectionError(), failures) for _ in range(500)]
        assert max(waits) <= ceiling
        assert max(waits) > 0.9 * ceiling
        assert min(waits) < 0.1 * ceiling


def test_a_retry_after_may_be_a_date(twin, stub):
    stub.plays(stub.error(503, {"Retry-After": formatdate(time.time() + 600, usegmt=True)}))
    with pytest.raises(ServiceUnavailableError) as caught:
        twin.segment()
    assert 590 < caught.value.retry_after <= 600
    assert len(stub.requests) == 1
    assert seconds_to_wait(caught.value, 1) == caught.value.retry_after


@pytest.mark.parametrize("value", [None, "soon", "-3", "1.5.2", ""])
def test_an_invalid_retry_after_is_none(value):
    assert parse_retry_after(value) is None


def test_a_retry_after_in_the_past_is_now():
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_each_retry_is_logged_without_the_key(twin, stub, caplog, key):
    stub.plays(stub.error(503, message="busy"), stub.segmented())
    with caplog.at_level("INFO", logger="air"):
        twin.segment()
    (record,) = [record for record in caplog.records if record.name == "air"]
    assert "busy" in record.getMessage()
    assert key not in caplog.text
