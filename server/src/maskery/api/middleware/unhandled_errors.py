"""Responds to requests that failed with an unexpected exception or were cancelled."""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskery.api.errors import internal_error, stopping
from maskery.api.requests.record import record_of

_log = logging.getLogger(__name__)


class UnhandledErrors:
    """ASGI middleware that responds 500 to unexpected exceptions and 503 when the grace period ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def note_and_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, note_and_send)
        # Only uvicorn cancels a whole request, at the end of the grace period. The cancellation ends here.
        except asyncio.CancelledError:
            if not started:
                await stopping().response()(scope, receive, send)
        # Outside of this middleware a response would lack the request id and the headers.
        except Exception:  # noqa: BLE001
            _log.exception("unexpected error")
            if not started:
                await internal_error(record_of(scope).request_id).response()(scope, receive, send)
