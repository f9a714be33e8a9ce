"""HTTP on a connection, with limits on how long a client may take, and how much it may send, to say what it wants."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from maskery.api.errors import not_http
from maskery.api.middleware.security_headers import HEADERS

# Seconds for the head of a request: from the connection's beginning, or from the end of the answer before.
_HEAD = 20.0

# Seconds for the rest of a body whose request is answered already; it is read so that its client sees the answer.
_REST = 600.0

# Bytes that may come without being body, or completing a head: of a head, and of what may follow a body.
_MOST_BYTES = 64 * 1024


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits for ever for a client that sends a byte now and then."""

    _limit: asyncio.TimerHandle | None = None
    _body_is_coming = False
    _got_further = False
    _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._close_after(_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._go_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._got_further = False
        super().data_received(data)
        self._unread = 0 if self._got_further else self._unread + len(data)
        if self._unread > _MOST_BYTES and not self.transport.is_closing():
            self.send_400_response("too large")

    def on_headers_complete(self) -> None:
        self._go_on()
        self._got_further = self._body_is_coming = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_further = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_further, self._body_is_coming = True, False
        super().on_message_complete()
        if self.cycle.response_complete:
            self._close_after(_HEAD)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Otherwise it was the answer to an earlier one of several requests that were sent at once.
        if self.cycle.response_complete:
            self._close_after(_REST if self._body_is_coming else _HEAD)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as HTTP, and so never reaches the application, in the shape of all errors."""
        del msg
        answer = not_http(_MOST_BYTES).response()
        headers = {**HEADERS, "Connection": "close"}
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        lines = [b"%s: %s\r\n" % each for each in (*self.server_state.default_headers, *answer.raw_headers, *fields)]
        self.transport.write(b"".join([b"HTTP/1.1 400 Bad Request\r\n", *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()

    def _close_after(self, seconds: float) -> None:
        self._go_on()
        # What is still to be sent is sent first.
        self._limit = self.loop.call_later(seconds, self.transport.close)

    def _go_on(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
