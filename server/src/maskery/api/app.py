"""The application: routes, errors and middleware put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from maskery.api import errors, warmup
from maskery.api.container import make_container
from maskery.api.middleware.cors import Cors
from maskery.api.middleware.path_normalization import PathNormalization
from maskery.api.middleware.request_log import RequestLog
from maskery.api.middleware.security_headers import SecurityHeaders
from maskery.api.middleware.trusted_hosts import TrustedHosts, loopback_names
from maskery.api.middleware.unhandled_errors import UnhandledErrors
from maskery.api.routes import (
    admin,
    authentication,
    health,
    images,
    limits,
    metrics,
    models,
    playground,
    segmentations,
)
from maskery.api.schemas.openapi import describe
from maskery.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The server as an ASGI application.

    Raises:
        ModelNotInstalled: an alias, or the setting `preload`, names a model that is not installed.
        DatabaseError: the database of accounts cannot be used.
    """
    container = make_container(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        container.account_service.start()
        warming = asyncio.create_task(warmup.warm(container))
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
    )
    app.state.container = container
    for module in (segmentations, images, models, limits, admin, authentication, health, metrics, playground):
        app.include_router(module.router)
    errors.install(app)
    describe(app)

    # The last added is the outermost: an answer goes through all that stand after the one that gave it.
    hosts = settings.allowed_hosts or (loopback_names(settings.host) if settings.on_loopback else ())
    if hosts:
        app.add_middleware(TrustedHosts, hosts=hosts, origins=settings.cors_origins)
    app.add_middleware(PathNormalization)
    app.add_middleware(UnhandledErrors)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestLog, container=container)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    return app
