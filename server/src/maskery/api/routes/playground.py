"""The playground at `/`: static files, served without a key."""

from functools import cache

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from maskery import playground
from maskery.api.container import ContainerDependency

router = APIRouter(include_in_schema=False)

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    # The user's images are blob: URLs.
    "img-src": "'self' blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}

_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Browsers revalidate every time (304), so that modules of two releases never mix after an upgrade.
    "Cache-Control": "no-cache",
}


class ServerCard(BaseModel):
    """What the page needs to know before it has a key."""

    version: str
    key_needed: bool


# Reads all files at the first request. The routes are not coroutines, so that they run in a thread.
_files = cache(playground.load)


@router.get("/")
def show_playground(request: Request) -> Response:
    return _answer(request, playground.INDEX)


@router.get("/playground/server.json")
async def show_server(request: Request, container: ContainerDependency) -> ServerCard:
    return ServerCard(version=request.app.version, key_needed=not container.settings.anonymous)


@router.get("/playground/{path:path}")
def show_file(request: Request, path: str) -> Response:
    return _answer(request, path)


def _answer(request: Request, path: str) -> Response:
    file = _files().get(path)
    if file is None:
        raise HTTPException(404)
    headers = {**_HEADERS, "ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
