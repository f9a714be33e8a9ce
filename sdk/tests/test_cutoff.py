"""The corners of cutting off that a whole request reaches only by a race."""

import socket

import httpx
import pytest

from air._cutoff import Abort, Cutoff, Sockets


class Stream:
    def __init__(self, connection):
        self._connection = connection

    def get_extra_info(self, name):
        return self._connection if name == "socket" else None


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    theirs.settimeout(0.05)
    with ours, theirs:
        yield ours, theirs


def is_open(theirs):
    try:
        return theirs.recv(1) != b""
    except TimeoutError:
        return True


def test_a_connection_that_opens_after_the_cut_is_shut_at_once(pair):
    ours, theirs = pair
    cutoff = Cutoff(Sockets())
    cutoff.fire()
    assert is_open(theirs)
    cutoff.trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
    assert not is_open(theirs)


def test_a_request_that_is_done_is_left_alone(pair):
    ours, theirs = pair
    cutoff = Cutoff(Sockets())
    with cutoff.after(5):
        cutoff.trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
    cutoff.fire()
    assert is_open(theirs)


def test_connections_that_others_hold_are_left_alone(pair):
    ours, theirs = pair
    sockets = Sockets()
    Cutoff(sockets).trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
    Cutoff(sockets).fire()
    assert is_open(theirs)


def test_a_transport_without_sockets_is_still_found_late():
    cutoff = Cutoff(Sockets())
    cutoff.trace("connection.connect_tcp.complete", {"return_value": Stream(None)})
    with pytest.raises(httpx.ReadTimeout), cutoff.after(5):
        cutoff.fire()


def test_what_was_aborted_before_it_began_does_not_begin():
    abort, begun = Abort(), []
    abort.ask()
    with pytest.raises(httpx.ReadTimeout), abort.covers(Cutoff(Sockets())):
        begun.append(True)
    assert begun == []
