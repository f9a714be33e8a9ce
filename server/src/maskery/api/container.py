"""What the routes work with."""

import socket
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request

from maskery.accounts import AccountMetrics, AccountService, Limiter, Records
from maskery.engine import EncoderProcess, Engine, Metrics
from maskery.models import Registry, Store
from maskery.settings import Settings, SettingsError


@dataclass(frozen=True)
class Container:
    """Everything behind the routes."""

    settings: Settings
    engine: Engine
    metrics: Metrics
    account_service: AccountService
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


def make_container(settings: Settings) -> Container:
    """Everything behind the routes. The encoder's process is started when it is needed.

    Raises:
        ModelNotInstalled: an alias, or the setting `preload`, names a model that is not installed.
        DatabaseError: the database of accounts cannot be used.
        SettingsError: the address of the Redis is none, or what is needed for it is not installed.
    """
    registry = make_registry(settings)
    for name in settings.preload:
        registry.describe(name)
    # The way to hand memory to another process is Unix' own.
    apart = hasattr(socket, "send_fds")
    encoder = EncoderProcess(settings.encoder_options, settings.encode_timeout) if apart else None
    engine = Engine(registry, settings.engine_limits, encoder)
    try:
        limiter = Limiter(settings.redis_url, settings.without_redis)
    except ValueError as error:
        raise SettingsError(f"setting redis_url (MASKERY_REDIS_URL): {error}") from None
    account_service = AccountService(Records.open(settings.database), settings.default_limits, limiter)
    return Container(settings, engine, Metrics(engine, AccountMetrics(account_service)), account_service, State())


async def get_container(request: Request) -> Container:
    container: Container = request.app.state.container
    return container


ContainerDependency = Annotated[Container, Depends(get_container)]
