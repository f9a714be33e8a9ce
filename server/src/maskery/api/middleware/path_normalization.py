"""Maps the paths of older clients to those of the routes, below the root path.

Releases of the reference SDK spell one route in several ways (``/inference/images/segmentations``,
``/v1/images/segmentations``) and join base URLs by concatenation (``//v1/…``). Users paste base URLs that end in
``/v1`` or ``/inference``. A redirect would lose the request's body, so the path is changed before routing.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIXES = frozenset({"", "v1", "inference"})

# The first part of the routes that older clients use, and whether it is below /v1. No other path is changed: rules of a
# proxy for /metrics or /v1/admin hold for every spelling that reaches these routes.
_ROUTES = {"images": True, "models": True, "authentication": False, "realms": False}


class PathNormalization:
    """ASGI middleware that rewrites the paths of older clients, and routes HEAD requests as GET.

    Args:
        root_path: the path below which clients see the server, unless a trusted proxy names another one.
    """

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        root_path = scope.get("root_path") or self._root_path
        path = root_path + normalize(_below(root_path, scope["path"]))
        # The HTTP server omits the body of the response to HEAD.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        inner = {**scope, "root_path": root_path, "path": path, "raw_path": path.encode(), "method": method}
        try:
            await self._app(inner, receive, send)
        finally:
            # Outer middleware sees the path as the client sent it, and the route.
            scope["route"] = inner.get("route")


def normalize(path: str) -> str:
    """The path of the route that an older client means; other paths unchanged."""
    parts = path.split("/")
    while len(parts) > 1 and parts[0] in _PREFIXES:
        del parts[0]
    parts = [part for part in parts if part]
    if not parts or parts[0] not in _ROUTES:
        return path
    return "/".join(["/v1" if _ROUTES[parts[0]] else "", *parts])


def _below(root_path: str, path: str) -> str:
    """The path below the root path; proxies either remove the root path or send it."""
    return path.removeprefix(root_path) if path.startswith(f"{root_path}/") else path
