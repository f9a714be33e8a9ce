"""The ASGI application: routes, error handlers and middleware."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

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


def create_app(settings: Settings) -> FastAPI:
    """Make the server's ASGI application.

    Raises:
        ModelNotInstalled: an alias, or the setting `preload`, names a model that is not installed.
        DatabaseError: the accounts database cannot be used.
        SettingsError: the Redis URL is invalid, the package `redis` is not installed, or a bridge lacks a setting.
    """
    pillow.silence()
    routers = bridges.make_routers(settings)
    container = make_container(settings)

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
        middleware=_middleware(container),
    )
    app.state.container = container
    for module in (segmentations, images, models, limits, admin, authentication, health, metrics, playground):
        app.include_router(module.router)
    for router in routers:
        app.include_router(router)
    describe(app)
    return app


def _middleware(container: Container) -> list[Middleware]:
    """The middleware that every request passes through, outermost first."""
    settings = container.settings
    hosts = settings.allowed_hosts or (loopback_names(settings.host) if settings.on_loopback else ())
    port = settings.bridge_port
    listed = [
        settings.trusted_proxies and Middleware(ProxyHeaders, trusted_hosts=list(settings.trusted_proxies)),
        Middleware(RequestLog, container=container),
        Middleware(UsageRecording, recorder=container.account_service.usage_recorder),
        Middleware(SecurityHeaders, hsts_seconds=settings.hsts_seconds),
        settings.cors_origins and Middleware(Cors, origins=settings.cors_origins),
        Middleware(UnhandledErrors),
        Middleware(PathNormalization, root_path=settings.root_path),
        hosts and Middleware(TrustedHosts, hosts=hosts, origins=settings.cors_origins, open_port=port),
        port and Middleware(BridgeListener, port=port),
    ]
    return [each for each in listed if isinstance(each, Middleware)]
