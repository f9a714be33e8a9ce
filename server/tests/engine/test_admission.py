"""Who may come in, and what those who may not are told."""

import pytest
from engine.parts import stop_clock

from maskery.engine import Admission, Busy


def test_no_more_requests_come_in_than_there_are_places() -> None:
    admission = Admission(2, 100)
    with admission.arrive() as first, admission.arrive() as second, admission.arrive() as third:
        first.take_place()
        second.take_place()
        with pytest.raises(Busy, match="2 requests are being answered or waiting"):
            third.take_place()
    assert admission.requests == 0
    with admission.arrive() as again:
        again.take_place()
        assert admission.requests == 1


def test_a_request_takes_its_place_when_its_body_is_there_not_before() -> None:
    admission = Admission(1, 100)
    with admission.arrive() as slow, admission.arrive() as quick:
        slow.bring(10)
        quick.bring(10)
        quick.take_place()
        assert (admission.requests, admission.nbytes) == (1, 20)


def test_bytes_of_all_requests_are_counted_until_they_have_left() -> None:
    admission = Admission(10, 100)
    with admission.arrive() as first:
        first.bring(60)
        with admission.arrive() as second:
            second.bring(40)
            with pytest.raises(Busy, match="memory"):
                second.bring(1)
            assert admission.nbytes == 100
        assert admission.nbytes == 60
        with admission.arrive() as third:
            third.bring(40)
    assert admission.nbytes == 0


def test_whoever_leaves_by_an_error_leaves_nothing_behind() -> None:
    admission = Admission(1, 100)

    def fail() -> None:
        with admission.arrive() as ticket:
            ticket.bring(50)
            ticket.take_place()
            raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            fail()
        assert (admission.requests, admission.nbytes) == (0, 0)


def test_the_refused_are_told_to_come_back_when_half_of_those_here_will_have_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = stop_clock(monkeypatch, "maskery.engine.admission")
    admission = Admission(2, 100)
    with admission.arrive() as ticket:
        ticket.take_place()
        clock.now += 30
    assert admission.seconds_a_request == 30
    with admission.arrive() as first, admission.arrive() as second, admission.arrive() as third:
        first.take_place()
        second.take_place()
        with pytest.raises(Busy) as caught:
            third.take_place()
        assert caught.value.retry_after == 15
        with pytest.raises(Busy) as caught:
            third.bring(101)
        assert caught.value.retry_after == 15


def test_refusals_do_not_count_as_quick_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_clock(monkeypatch, "maskery.engine.admission")
    admission = Admission(1, 100)
    with admission.arrive() as ticket:
        ticket.take_place()
        clock.now += 30
    with admission.arrive() as first:
        first.take_place()
        for _ in range(50):
            with admission.arrive() as refused, pytest.raises(Busy):
                refused.take_place()
    assert admission.seconds_a_request == pytest.approx(24)


def test_an_idle_server_asks_for_a_second() -> None:
    assert Admission(5, 100).retry_after() == 1
