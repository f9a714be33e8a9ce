"""What Ray's HTTP proxies run around each request: their own failures become errors of the API.

Ray finds it by the environment variable `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`.
"""

import uuid

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskery.api.errors import ApiError
from maskery.cluster.replica import REPLICA_HEADER

# The proxy's own pages: health for load balancers, and routes.
_OWN = "/-/"


def middlewares() -> list[Middleware]:
    """For Ray."""
    return [Middleware(ReplicaErrors)]


class ReplicaErrors:
    """ASGI middleware that answers 503 `replica_unavailable` where no replica has answered.

    Ray answers a request whose replica was lost with 500, and one for which there is no replica with 404 or 503, both
    as plain text. Clients retry a 503 after `Retry-After`; by then another replica has the image.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_OWN):
            await self._app(scope, receive, send)
            return
        answered = False
        # Ray gives a request an id only if it has none, and the log of the replica has the same.
        request_id = MutableHeaders(scope=scope).setdefault("x-request-id", uuid.uuid4().hex)

        async def send_of_replica(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                answered = REPLICA_HEADER in headers
                if answered:
                    # Ray adds a second one.
                    headers["x-request-id"] = headers.getlist("x-request-id")[0]
            if answered:
                await send(message)

        await self._app(scope, receive, send_of_replica)
        if not answered:
            error = ApiError(
                503,
                "replica_unavailable",
                "The replica with this image was lost, or no replica is ready. Try again.",
                headers={"Retry-After": "1", "x-request-id": request_id},
            )
            await error.response()(scope, receive, send)
