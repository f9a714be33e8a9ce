"""What the bridges share: how their callers are authenticated and limited, and how their prompts are run."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from maskery.accounts import Caller, ExceedsQuota, LimitsUnavailable, RateLimited
from maskery.api.container import Container, ContainerDependency
from maskery.api.dependencies import admission, authenticate_key, check_scope, identified, quota_hook
from maskery.api.errors import ApiError
from maskery.api.requests.record import record_of
from maskery.engine import EngineError, Job, Prompt, Timings, Upload
from maskery.errors import UserError
from maskery.segmentation import Options, Segmentation

Result = TypeVar("Result")
Dependency = Callable[..., Awaitable[Caller]]
AdmittedDependency = Callable[..., AsyncIterator[Caller]]

#: Reads the API key of a request; raises `ApiError` if the request may not be answered at all.
KeyReader = Callable[[Request], str | None]

_log = logging.getLogger("maskery.bridges")

# Each label has its own mask, as if it had been asked for alone.
_OPTIONS = Options(compose=False)


class LoggedRoute(APIRoute):
    """A route whose errors are logged: labelling tools show no more of a failed request than its status."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except (ApiError, UserError, EngineError, RateLimited, ExceedsQuota, LimitsUnavailable) as error:
                _log.warning("%s: %s", self.path_format, error)
                raise

        return handle


def authenticated(read_key: KeyReader, challenge: str, hint: str) -> Dependency:
    """A dependency: the caller, by an API key that is not sent as the API's own clients send it.

    Args:
        challenge: the header WWW-Authenticate of responses without a valid key.
        hint: how to send one, after "send ".
    """

    async def authenticate(request: Request, container: ContainerDependency) -> Caller:
        key = read_key(request)
        try:
            if not key and not container.settings.anonymous:
                raise ApiError(401, "missing_key", f"No API key was sent: send {hint}.")
            return identified(request, await authenticate_key(container, key))
        except ApiError as error:
            if error.status == 401:
                error.headers["WWW-Authenticate"] = challenge
            raise

    return authenticate


def admitted(authenticate: Dependency) -> AdmittedDependency:
    """A dependency: the caller, whose key has the scope `segment` and whose request passed the rate limits."""

    async def admit(
        request: Request, container: ContainerDependency, caller: Annotated[Caller, Depends(authenticate)]
    ) -> AsyncIterator[Caller]:
        check_scope(caller, "segment")
        async with admission(request, container, caller):
            yield caller

    return admit


async def segment(
    request: Request,
    container: Container,
    caller: Caller,
    model: str,
    image: Upload,
    prompt: Prompt,
    write: Callable[[Segmentation], Result],
    timings: Timings,
) -> Result:
    """Segment an image as the API does: with the caller's embeddings, quotas and request record.

    Args:
        write: makes the answer of the whole mask of each object; called in a thread.

    Raises:
        Exception: as `Engine.segment`.
    """
    record = record_of(request)
    record.model, record.session_id = model, image.session_id
    job = Job(model, image, prompt, _OPTIONS, caller.account, quota_hook(container, caller))
    return await container.engine.segment(job, write, timings)


def names_of(container: Container) -> list[str]:
    """The names of the installed models and their aliases."""
    return [listing.name for listing in container.models.listings()]
