"""A second listening address, on which only the bridge to CVAT exists."""

from starlette.types import ASGIApp, Receive, Scope, Send

from maskery.api.errors import ApiError

# The paths that CVAT calls.
_PREFIX = "/api/function"


class BridgeListener:
    """ASGI middleware that hides all other routes from clients of the bridge's port.

    Args:
        port: of the bridge.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_on_port(scope, self._port) and not scope["path"].startswith(_PREFIX):
            message = "This path does not exist. This address is for CVAT: GET /api/functions."
            await ApiError(404, "not_found", message).response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_on_port(scope: Scope, port: int | None) -> bool:
    """Whether a request has arrived at this port of the server."""
    _, own = scope.get("server") or ("", None)
    return port is not None and own == port
