"""Builds what the routes work with from the settings."""

import socket
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Literal

from fastapi import Depends, Request

from maskery.accounts import AccountMetrics, AccountService, AccountStore, Limiter, Limits
from maskery.api.model_settings import image_limits, make_registry, prompt_limits, registry_factory
from maskery.engine import DiskCache, EncoderClient, EncoderOptions, Engine, EngineLimits, Metrics
from maskery.models import BUILT_IN, ModelMetrics, Registry
from maskery.settings import Settings, SettingsError


@dataclass
class State:
    """The server's state.

    Attributes:
        phase: "starting" while models are loaded, "ready", "stopping" after a signal to stop.
        failure: why a model of the setting `preload` could not be loaded.
    """

    phase: Literal["starting", "ready", "stopping"] = "starting"
    failure: Exception | None = None


@dataclass(frozen=True)
class Container:
    """The application's objects, shared by all requests.

    Attributes:
        preload: names of the models to load before the server is ready.
    """

    settings: Settings
    models: Registry
    engine: Engine
    metrics: Metrics
    account_service: AccountService
    state: State
    preload: tuple[str, ...]


def make_container(settings: Settings) -> Container:
    """Build the application's objects. The encoder process starts with the first image that needs it.

    Raises:
        ModelNotInstalled: an alias, or the setting `preload`, names a model that is not installed.
        DatabaseError: the accounts database cannot be used.
        DeviceError: the device is not there, or does not support the precision.
        SettingsError: the Redis URL is invalid, the package `redis` is not installed, or the folder of the disk cache
            cannot be used.
    """
    registry = make_registry(settings)
    # Checks the device.
    registry.execution()
    preload = BUILT_IN if settings.preload is None else settings.preload
    for name in preload:
        registry.describe(name)
    try:
        engine = Engine(registry, _engine_limits(settings), _make_encoder(settings), _make_disk_cache(settings))
    except OSError as error:
        raise SettingsError(f"setting cache_dir (MASKERY_CACHE_DIR): {error}") from None
    try:
        limiter = Limiter(settings.redis_url, settings.without_redis)
    except ValueError as error:
        raise SettingsError(f"setting redis_url (MASKERY_REDIS_URL): {error}") from None
    default_limits = Limits(
        settings.requests_per_minute,
        settings.images_per_minute,
        settings.concurrent_requests,
        settings.pixels_per_day,
    )
    account_service = AccountService(AccountStore.open(settings.database), default_limits, limiter)
    metrics = Metrics(engine, AccountMetrics(account_service), ModelMetrics(registry))
    return Container(settings, registry, engine, metrics, account_service, State(), preload)


def _engine_limits(settings: Settings) -> EngineLimits:
    return EngineLimits(
        image=image_limits(settings),
        prompt=prompt_limits(settings),
        workers=settings.workers,
        max_requests=settings.workers + settings.max_queue,
        # There is always room for one request of the largest size.
        max_request_bytes=max(settings.max_upload_bytes, settings.max_body_bytes),
        max_encodings=settings.max_encode_queue,
        cache_bytes=settings.cache_bytes,
        candidate_bytes=settings.candidate_cache_bytes,
        share_images=settings.share_images,
        prepared_seconds=settings.prepared_seconds,
        automatic_seconds=settings.automatic_timeout,
    )


def _make_disk_cache(settings: Settings) -> DiskCache | None:
    """The disk cache, if there is to be one."""
    if not settings.disk_cache_bytes:
        return None
    return DiskCache(settings.cache_dir, settings.disk_cache_bytes, version("maskery"))


def _make_encoder(settings: Settings) -> EncoderClient | None:
    """The encoder process; None where the platform cannot pass shared memory to another process."""
    if not hasattr(socket, "send_fds"):
        return None
    options = EncoderOptions(
        open_registry=registry_factory(settings),
        image_limits=image_limits(settings),
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
    return EncoderClient(options, settings.encode_timeout)


async def get_container(request: Request) -> Container:
    """The application's container, as a FastAPI dependency."""
    container: Container = request.app.state.container
    return container


ContainerDependency = Annotated[Container, Depends(get_container)]
