"""Admission of requests: limits on their number and on the bytes of their bodies."""

import pytest
from engine.parts import stop_clock

from maskery.engine import Admission, Busy


def test_no_more_requests_are_admitted_than_the_limit() -> None:
    admission = Admission(2, 100)
    with admission.ticket() as first, admission.ticket() as second, admission.ticket() as third:
        first.admit()
        second.admit()
        with pytest.raises(Busy, match=r"^the request queue is full \(2 requests\)$"):
            third.admit()
    assert admission.requests == 0
    with admission.ticket() as again:
        again.admit()
        assert admission.requests == 1


def test_a_request_is_admitted_when_its_body_is_complete_and_not_before() -> None:
    admission = Admission(1, 100)
    with admission.ticket() as slow, admission.ticket() as quick:
        slow.reserve_bytes(10)
        quick.reserve_bytes(10)
        quick.admit()
        assert (admission.requests, admission.nbytes) == (1, 20)


def test_bytes_are_reserved_until_the_request_ends() -> None:
    admission = Admission(10, 100)
    with admission.ticket() as first:
        first.reserve_bytes(60)
        with admission.ticket() as second:
            second.reserve_bytes(40)
            with pytest.raises(Busy, match="bodies of the requests in flight would exceed 100 bytes"):
                second.reserve_bytes(1)
            assert admission.nbytes == 100
        assert admission.nbytes == 60
        with admission.ticket() as third:
            third.reserve_bytes(40)
    assert admission.nbytes == 0


def test_a_request_that_fails_releases_what_it_reserved() -> None:
    admission = Admission(1, 100)

    def fail() -> None:
        with admission.ticket() as ticket:
            ticket.reserve_bytes(50)
            ticket.admit()
            raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            fail()
        assert (admission.requests, admission.nbytes) == (0, 0)


def test_refused_requests_are_told_to_retry_when_half_of_the_others_are_expected_to_be_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = stop_clock(monkeypatch, "maskery.engine.admission")
    admission = Admission(2, 100)
    with admission.ticket() as ticket:
        ticket.admit()
        clock.now += 30
    assert admission.estimate.seconds == 30
    with admission.ticket() as first, admission.ticket() as second, admission.ticket() as third:
        first.admit()
        second.admit()
        with pytest.raises(Busy) as caught:
            third.admit()
        assert caught.value.retry_after == 15
        with pytest.raises(Busy) as caught:
            third.reserve_bytes(101)
        assert caught.value.retry_after == 15


def test_refused_requests_do_not_lower_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_clock(monkeypatch, "maskery.engine.admission")
    admission = Admission(1, 100)
    with admission.ticket() as ticket:
        ticket.admit()
        clock.now += 30
    with admission.ticket() as first:
        first.admit()
        for _ in range(50):
            with admission.ticket() as refused, pytest.raises(Busy):
                refused.admit()
    assert admission.estimate.seconds == pytest.approx(24)


def test_an_idle_server_suggests_one_second() -> None:
    assert Admission(5, 100).retry_after() == 1
