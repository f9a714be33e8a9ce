"""Records what each request used for its account."""

from starlette.types import ASGIApp, Receive, Scope, Send

from maskery.accounts import Usage, UsageRecorder
from maskery.api.requests.record import record_of


class UsageRecording:
    """ASGI middleware that records the usage of every request with an image, including failed ones."""

    def __init__(self, app: ASGIApp, recorder: UsageRecorder) -> None:
        self._app = app
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                self._record(scope)

    def _record(self, scope: Scope) -> None:
        record = record_of(scope)
        timings = record.timings
        if timings and record.account:
            usage = Usage(1, int(timings.embedding == "new"), timings.objects, timings.pixels, timings.work)
            self._recorder.record(record.account, usage)
