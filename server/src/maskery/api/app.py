"""The ASGI application: routes, error handlers and middleware."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware import Middleware

from maskery.api import warmup
from maskery.api.container import Container, make_container
from maskery.api.errors import exception_handlers
from maskery.api.middleware.bridge_listener import BridgeListener
from maskery.api.middleware.cors import Cors
from maskery.api.middleware.path_normalization import PathNormalization
from maskery.api.middleware.proxy_headers import ProxyHeaders
from maskery.api.middleware.request_log import RequestLog
from maskery.api.middleware.security_headers import SecurityHeaders
from maskery.api.middleware.trusted_hosts import TrustedHosts, loopback_names
from maskery.api.middleware.unhandled_errors import UnhandledErrors
from maskery.api.middleware.usage import UsageRecording
from maskery.api.routes import (
    admin,
    authentication,
    bridges,
    health,
    images,
    limits,
    metrics,
    models,
    playground,
    segmentations,
)
from maskery.api.schemas.openapi import describe
from maskery.segmentation import pillow
from maskery.settings import Settings

if TYPE_CHECKING:
    from maskery.api.tracing import Tracer

_log = logging.getLogger(__name__)


def create_app(settings: Settings, replica: str = "") -> FastAPI:
    """Make the server's ASGI application.

    Args:
        replica: name of this process among the replicas of a cluster, for traces.

    Raises:
        ModelNotInstalled: an alias, or the setting `preload`, names a model that is not installed.
        DatabaseError: the accounts database cannot be used.
        SettingsError: the Redis URL is invalid, the package `redis` is not installed, or a bridge lacks a setting.
    """
    pillow.silence()
    routers = bridges.make_routers(settings)
    container = make_container(settings)
    tracer = _start_tracing(replica)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        container.account_service.start()
        warming = asyncio.create_task(warmup.warm_up(container))
        yield
        container.state.phase = "stopping"
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        await container.engine.close()
        await container.account_service.close()
        if tracer:
            await tracer.close()

    app = FastAPI(
        title="Maskery",
        version=version("maskery"),
        summary="Promptable image segmentation: points in, one categorical mask out.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers=exception_handlers(),
        middleware=_middleware(container, tracer),
    )
    app.state.container = container
    for module in (segmentations, images, models, limits, admin, authentication, health, metrics, playground):
        app.include_router(module.router)
    for router in routers:
        app.include_router(router)
    describe(app)
    return app


def _middleware(container: Container, tracer: "Tracer | None") -> list[Middleware]:
    """The middleware that every request passes through, outermost first."""
    settings = container.settings
    hosts = settings.allowed_hosts or (loopback_names(settings.host) if settings.on_loopback else ())
    port = settings.bridge_port
    listed = [
        settings.trusted_proxies and Middleware(ProxyHeaders, trusted_hosts=list(settings.trusted_proxies)),
        Middleware(RequestLog, container=container, tracer=tracer),
        Middleware(UsageRecording, recorder=container.account_service.usage_recorder),
        Middleware(SecurityHeaders, hsts_seconds=settings.hsts_seconds),
        settings.cors_origins and Middleware(Cors, origins=settings.cors_origins),
        Middleware(UnhandledErrors),
        Middleware(PathNormalization, root_path=settings.root_path),
        hosts and Middleware(TrustedHosts, hosts=hosts, origins=settings.cors_origins, open_port=port),
        port and Middleware(BridgeListener, port=port),
    ]
    return [each for each in listed if isinstance(each, Middleware)]


def _start_tracing(replica: str) -> "Tracer | None":
    """What exports spans; None if OpenTelemetry's variables name no address, or it is not installed."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    name = next((name for name in names if os.environ.get(name)), None)
    if not name:
        return None
    try:
        from maskery.api.tracing import Tracer  # noqa: PLC0415 - imports OpenTelemetry
    except ImportError:
        # Platforms set the variable for all of their services: no reason not to serve.
        _log.warning("%s is set, but no spans are exported: pip install 'maskery[otel]'", name)
        return None
    return Tracer(replica)
