"""FastAPI dependencies: authentication, scopes, rate limits and quotas."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from maskery.accounts import Caller, InvalidKeyError, Scope
from maskery.api.container import Container, ContainerDependency
from maskery.api.errors import ApiError
from maskery.api.requests.processing import time_limit
from maskery.api.requests.record import record_of
from maskery.engine import QuotaHook

# Seconds after a request's time limit at which it no longer counts as concurrent, in case its server has crashed.
_LEASE_MARGIN = 10

_CODES = {"unknown": "wrong_key", "revoked": "revoked_key", "expired": "expired_key"}

bearer = HTTPBearer(auto_error=False, description="An API key, created with `maskery keys create`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


async def authenticate_key(container: Container, key: str | None, header: str = "") -> Caller:
    """Authenticate an API key.

    Args:
        header: the Authorization header, for the error message if there is no key.

    Raises:
        ApiError: 401; the key is missing or invalid. 403; its account is disabled.
        DatabaseError: the accounts database does not respond.
    """
    if container.settings.anonymous:
        return container.account_service.authenticator.anonymous
    if not key:
        # The message does not repeat the header's first word, which may be the key.
        has_scheme = header.partition(" ")[0].lower() in ("", "bearer")
        found = "No API key was sent" if has_scheme else "The header Authorization does not begin with the word Bearer"
        message = f"{found}: send the header Authorization: Bearer KEY."
        raise _unauthorized(message, "missing_key")
    try:
        caller = await container.account_service.authenticator.authenticate(key)
    except InvalidKeyError as refusal:
        if refusal.reason == "disabled":
            raise ApiError(403, "account_disabled", str(refusal)) from None
        raise _unauthorized(str(refusal), _CODES[refusal.reason]) from None
    container.account_service.usage_recorder.record_key_use(caller.key_id)
    return caller


async def authenticate(request: Request, container: ContainerDependency, credentials: Credentials) -> Caller:
    """The authenticated caller."""
    key = credentials.credentials if credentials else None
    return identified(request, await authenticate_key(container, key, request.headers.get("authorization", "")))


def identified(request: Request, caller: Caller) -> Caller:
    """The caller, who is noted in the request record."""
    record = record_of(request)
    record.account, record.key_id = caller.account, caller.key_id
    return caller


def require_scope(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency that returns the caller, whose API key must have the scope."""

    async def check(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
        check_scope(caller, scope)
        return caller

    return check


def check_scope(caller: Caller, scope: Scope) -> None:
    """Raise `ApiError` 403 unless the caller's API key has the scope."""
    if scope not in caller.scopes:
        raise ApiError(
            403,
            "missing_scope",
            f"The API key {caller.key_id or '(none)'} lacks the scope {scope!r}. "
            f"Create a key that has it with `maskery keys create --scopes {scope}`.",
        )


@asynccontextmanager
async def admission(request: Request, container: Container, caller: Caller) -> AsyncIterator[None]:
    """Pass the rate limits, or raise `RateLimited`; the request counts as concurrent until the context exits."""
    lease = time_limit(request, container.settings) + _LEASE_MARGIN
    async with container.account_service.limiter.admit(caller.subjects, lease) as headers:
        record_of(request).rate_limit_headers = headers
        yield


async def admit(
    request: Request, container: ContainerDependency, caller: Annotated[Caller, Depends(require_scope("segment"))]
) -> AsyncIterator[Caller]:
    """The caller, whose request passed the rate limits; it counts as concurrent until the dependency exits."""
    async with admission(request, container, caller):
        yield caller


def quota_hook(container: Container, caller: Caller) -> QuotaHook:
    """Charges the caller's quotas of images and pixels for a new image."""
    return lambda pixels: container.account_service.limiter.charge_image(caller.subjects, pixels)


AnyCaller = Annotated[Caller, Depends(authenticate)]
# Released before the response is sent, so that a client's next request never meets its own previous one.
Segmenter = Annotated[Caller, Depends(admit, scope="function")]
Administrator = Annotated[Caller, Depends(require_scope("admin"))]


def _unauthorized(message: str, code: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
