"""Who is calling, and whether they may."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from maskery.accounts import Caller, InvalidKeyError, Scope
from maskery.api.container import Container, ContainerDependency
from maskery.api.errors import ApiError
from maskery.api.requests.processing import time_limit
from maskery.engine import QuotaHook

# Seconds beyond its time limit after which a request cannot be running any more, unless its server has died.
_LEASE_MARGIN = 10

_CODES = {"unknown": "wrong_key", "revoked": "revoked_key", "expired": "expired_key"}

bearer = HTTPBearer(auto_error=False, description="A key made with `maskery keys create`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


async def authenticate_key(container: Container, key: str | None, header: str = "") -> Caller:
    """Who has this key.

    Args:
        header: Authorization, as it was sent; what is wrong with it is said where it has no key.

    Raises:
        ApiError: 401, or 403 where the account is disabled.
        DatabaseError: the database does not answer.
    """
    if container.settings.anonymous:
        return container.account_service.authenticator.anonymous
    if not key:
        # What the header begins with is not repeated: it may be the key.
        has_scheme = header.partition(" ")[0].lower() in ("", "bearer")
        found = "No API key was sent" if has_scheme else "The header Authorization does not begin with the word Bearer"
        message = f"{found}: send the header Authorization: Bearer KEY."
        raise _not_let_in(message, "missing_key")
    try:
        caller = await container.account_service.authenticator.authenticate(key)
    except InvalidKeyError as refusal:
        if refusal.reason == "disabled":
            raise ApiError(403, "account_disabled", str(refusal)) from None
        raise _not_let_in(str(refusal), _CODES[refusal.reason]) from None
    container.account_service.usage_recorder.record_key_use(caller.key_id)
    return caller


async def authenticate(request: Request, container: ContainerDependency, credentials: Credentials) -> Caller:
    """The caller, of whom the access log is told too."""
    key = credentials.credentials if credentials else None
    caller = await authenticate_key(container, key, request.headers.get("authorization", ""))
    request.state.account, request.state.key = caller.account, caller.key_id
    return caller


def require_scope(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency: the caller, who must have this scope."""

    async def check(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
        if scope not in caller.scopes:
            raise ApiError(
                403,
                "missing_scope",
                f"The key {caller.key_id or 'that was not sent'} may not do this: it lacks the scope {scope!r}. "
                f"`maskery keys create --scopes {scope}` makes one that has it.",
            )
        return caller

    return check


async def admit(
    request: Request, container: ContainerDependency, caller: Annotated[Caller, Depends(require_scope("segment"))]
) -> AsyncIterator[Caller]:
    """The caller, whose request is within the limits, and counts until it is answered."""
    lease = time_limit(request, container.settings) + _LEASE_MARGIN
    async with container.account_service.limiter.admit(caller.subjects, lease) as standing:
        request.state.headers = standing.headers
        yield caller


def charge(container: Container, caller: Caller) -> QuotaHook:
    """What a new image of the caller's has to pass: the limits on images and pixels."""
    return lambda pixels: container.account_service.limiter.charge_image(caller.subjects, pixels)


AnyCaller = Annotated[Caller, Depends(authenticate)]
# Its place is free again before its answer is sent: who has that may ask for more at once.
Segmenter = Annotated[Caller, Depends(admit, scope="function")]
Administrator = Annotated[Caller, Depends(require_scope("admin"))]


def _not_let_in(message: str, code: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
