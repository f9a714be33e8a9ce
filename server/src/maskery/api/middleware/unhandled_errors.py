"""Answers where nothing else has given one."""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskery.api.errors import cut_off, unexpected

_log = logging.getLogger(__name__)


class UnhandledErrors:
    """Answers a request that failed in a way nobody thought of, or that the server can no longer wait for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = False

        async def note_and_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, receive, note_and_send)
        # Nothing but the end of the grace period cancels a request as a whole, and this is where it ends.
        except asyncio.CancelledError:
            if not answered:
                await cut_off().response()(scope, receive, send)
        # The last place where a failure can still be given its id, and its client an answer.
        except Exception:  # noqa: BLE001
            _log.exception("unexpected error")
            if not answered:
                await unexpected(scope["state"]["request_id"]).response()(scope, receive, send)
