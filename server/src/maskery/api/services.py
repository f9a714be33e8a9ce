"""What the routes work with, and who is calling."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from maskery.accounts import KeyStore
from maskery.api.errors import ApiError
from maskery.engine import Engine, Workers
from maskery.models import Registry, Store
from maskery.settings import Settings

#: The account of a caller without a key, where that is allowed.
ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Services:
    """Everything behind the routes."""

    settings: Settings
    engine: Engine
    workers: Workers
    keys: KeyStore


def make_engine(settings: Settings) -> Engine:
    """The engine that the settings describe.

    Raises:
        ModelNotInstalled: an alias stands for a model that is not installed.
    """
    registry = Registry(
        settings.aliases,
        Store(settings.models),
        settings.model_memory,
        settings.precision,
        settings.hq_token_only,
    )
    return Engine(registry, settings.image_limits, settings.prompt_limits)


def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDependency = Annotated[Services, Depends(get_services)]

_bearer = HTTPBearer(auto_error=False, description="A key made with `maskery keys create`.")


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
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> str:
    """The calling account, which the access log is told too."""
    account = await account_of(services, credentials.credentials if credentials else None)
    request.state.account = account
    return account


Account = Annotated[str, Depends(authenticate)]


def _not_let_in(message: str, code: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
