"""The application: routes, errors and middleware put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from maskery.api import (
    admin,
    authentication,
    errors,
    health,
    images,
    lifecycle,
    limits,
    metrics,
    models,
    playground,
    segmentations,
)
from maskery.api.cors import Cors
from maskery.api.host_guard import HostGuard, loopback_names
from maskery.api.last_resort import LastResort
from maskery.api.openapi import describe
from maskery.api.paths import CanonicalPaths
from maskery.api.request_log import RequestLog
from maskery.api.security_headers import SecurityHeaders
from maskery.api.services import make_services
from maskery.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The server as an ASGI application.

    Raises:
        ModelNotInstalled: an alias, or the setting `preload`, names a model that is not installed.
        DatabaseError: the database of accounts cannot be used.
    """
    services = make_services(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.office.start()
        warming = asyncio.create_task(lifecycle.warm(services))
        yield
        services.state.phase = "stopping"
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        await services.engine.close()
        await services.office.close()

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
    app.state.services = services
    for module in (segmentations, images, models, limits, admin, authentication, health, metrics, playground):
        app.include_router(module.router)
    errors.install(app)
    describe(app)

    # The last added is the outermost: an answer goes through all that stand after the one that gave it.
    hosts = settings.allowed_hosts or (loopback_names(settings.host) if settings.on_loopback else ())
    if hosts:
        app.add_middleware(HostGuard, hosts=hosts, origins=settings.cors_origins)
    app.add_middleware(CanonicalPaths)
    app.add_middleware(LastResort)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestLog, services=services)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    return app
