"""One spelling for every path.

The reference SDK's releases spell the same route in several ways (``/inference/images/segmentations``,
``/v1/images/segmentations``), join base URLs by plain concatenation (``//v1/…``), and people paste bases that end in
``/v1`` or ``/inference``. A redirect would lose the request's body, so the path is put right before routing.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIXES = frozenset({"", "v1", "inference"})

# The resources that stand under /v1; everything else is served at the root.
_VERSIONED = frozenset({"images", "models", "limits", "admin"})


class PathNormalization:
    """ASGI middleware that rewrites the request's path to its canonical spelling."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = canonical(scope["path"])
        inner = {**scope, "path": path, "raw_path": path.encode()}
        try:
            await self._app(inner, receive, send)
        finally:
            # Those around this one see the path as it was sent, and the route that it led to.
            scope["route"] = inner.get("route")


def canonical(path: str) -> str:
    """The spelling under which a route is registered."""
    parts = path.split("/")
    while len(parts) > 1 and parts[0] in _PREFIXES:
        del parts[0]
    parts = [part for part in parts if part]
    if parts and parts[0] in _VERSIONED:
        parts.insert(0, "v1")
    return "/" + "/".join(parts)
