"""What the routes work with, and who is calling."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from maskery.accounts import KeyStore
from maskery.api.errors import ApiError
from maskery.engine import EncoderProcess, Engine, Metrics
from maskery.models import Registry, Store
from maskery.settings import Settings

#: The account of a caller without a key, where that is allowed.
ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Services:
    """Everything behind the routes."""

    settings: Settings
    engine: Engine
    metrics: Metrics
    keys: KeyStore
    state: "State"


@dataclass
class State:
    """How far the server is.

    Attributes:
        phase: "starting" while models are loaded, "ready", "stopping" once it was told to.
        failure: why a model that was to be loaded first could not be.
    """

    phase: Literal["starting", "ready", "stopping"] = "starting"
    failure: Exception | None = None


def make_registry(settings: Settings) -> Registry:
    """The models that the settings describe.

    Raises:
        ModelNotInstalled: an alias stands for a model that is not installed.
    """
    return Registry(
        settings.aliases,
        Store(settings.models),
        settings.model_memory,
        settings.precision,
        settings.hq_token_only,
    )


def make_services(settings: Settings) -> Services:
    """Everything behind the routes. The encoder's process is started when it is needed.

    Raises:
        ModelNotInstalled: an alias, or the setting `preload`, names a model that is not installed.
        OSError: the home folder cannot be used.
    """
    registry = make_registry(settings)
    for name in settings.preload:
        registry.describe(name)
    # The way to hand memory to another process is Unix' own.
    apart = hasattr(socket, "send_fds")
    encoder = EncoderProcess(settings.encoder_options, settings.encode_timeout) if apart else None
    engine = Engine(registry, settings.engine_limits, encoder)
    return Services(settings, engine, Metrics(engine), KeyStore(settings.database), State())


async def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDependency = Annotated[Services, Depends(get_services)]

bearer = HTTPBearer(auto_error=False, description="A key made with `maskery keys create`.")


async def account_of(services: Services, key: str | None) -> str:
    """The account that a key belongs to.

    Raises:
        ApiError: 401.
    """
    if services.settings.anonymous:
        return ANONYMOUS
    if not key:
        raise _not_let_in("No API key was sent: send the header Authorization: Bearer KEY.", "missing_key")
    found = await asyncio.to_thread(services.keys.check, key)
    if found is None:
        raise _not_let_in("The API key is not known, or was revoked; `maskery keys create` makes one.", "wrong_key")
    return found.account


async def authenticate(
    request: Request,
    services: ServicesDependency,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> str:
    """The calling account, which the access log is told too."""
    account = await account_of(services, credentials.credentials if credentials else None)
    request.state.account = account
    return account


Account = Annotated[str, Depends(authenticate)]


def _not_let_in(message: str, code: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
