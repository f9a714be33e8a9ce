"""The HTTP protocol of a connection: uvicorn's, with limits on request heads and without protocol upgrades."""

import asyncio
import ipaddress

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from maskery.api.errors import malformed_http
from maskery.api.middleware.security_headers import HEADERS

# Bytes that may be received without completing a head or belonging to a body: heads, trailers, chunk extensions.
_MAX_HEAD_BYTES = 64 * 1024

# The headers of an offer to upgrade, which are also named in the header Connection.
_OFFER = (b"upgrade", b"http2-settings")


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on slow and oversized heads. Offers to upgrade to another protocol are ignored.

    Java's HttpClient and `curl --http2` offer HTTP/2 with their first request, and expect an HTTP/1.1 response from a
    server that does not accept. httptools stops parsing at an offer and skips the request's body.

    Attributes:
        head_timeout: seconds for a request's head, counted from the start of the connection or the end of the
            previous response.
        rest_timeout: seconds for the rest of a body after its response was sent. Clients that are still sending would
            not see the response if the connection were closed at once.
    """

    head_timeout = 20.0
    rest_timeout = 600.0
    _timer: asyncio.TimerHandle | None = None
    _in_body = False
    _progress = False
    _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client:
            self.client = _unmapped(self.client[0]), self.client[1]
        self._close_after(self.head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._progress = False
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("malformed")
            return
        self._unread = 0 if self._progress else self._unread + len(data)
        if self._unread > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("too large")

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                if self.parser.get_method() == b"CONNECT":
                    raise httptools.HttpParserError("CONNECT is not supported") from None
                # Parse the same request again without its offer.
                data = self._head_without_offer() + data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] not in (b"connection", *_OFFER)]
        options = [
            option.strip() for name, value in self.headers if name == b"connection" for option in value.split(b",")
        ]
        lines += [b"connection: %s" % option for option in options if option.lower() not in _OFFER]
        return b"\r\n".join([*lines, b"", b""])

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._cancel_timer()
        self._progress = self._in_body = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._progress, self._in_body = True, False
        super().on_message_complete()
        if self.cycle.response_complete:
            self._close_after(self.head_timeout)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # False if further pipelined requests are waiting.
        if self.cycle.response_complete:
            self._close_after(self.rest_timeout if self._in_body else self.head_timeout)

    def send_400_response(self, msg: str) -> None:
        """Send the API's error response for bytes that are not HTTP, which never reach the application."""
        del msg
        response = malformed_http(_MAX_HEAD_BYTES).response()
        headers = {**HEADERS, "Connection": "close"}
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        lines = [b"%s: %s\r\n" % each for each in (*self.server_state.default_headers, *response.raw_headers, *fields)]
        self.transport.write(b"".join([b"HTTP/1.1 400 Bad Request\r\n", *lines, b"\r\n", bytes(response.body)]))
        self.transport.close()

    def _close_after(self, seconds: float) -> None:
        self._cancel_timer()
        # close() flushes the transport's buffer first.
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _unmapped(host: str) -> str:
    """An IPv4 address that an IPv6 socket has received as ::ffff:a.b.c.d, as a.b.c.d; other hosts unchanged."""
    try:
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return str(mapped) if mapped else host
