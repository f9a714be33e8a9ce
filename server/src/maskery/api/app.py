"""The application: routes, errors and middleware put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from maskery.accounts import KeyStore
from maskery.api import authentication, errors, health, limits, models, segmentations
from maskery.api.middleware import HostGuard, RequestLog, loopback_names
from maskery.api.openapi import describe
from maskery.api.paths import CanonicalPaths
from maskery.api.services import Services, make_engine
from maskery.engine import Workers
from maskery.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The server as an ASGI application.

    Raises:
        ModelNotInstalled: an alias stands for a model that is not installed.
        OSError: the home folder cannot be used.
    """
    services = Services(
        settings=settings,
        engine=make_engine(settings),
        workers=Workers(settings.workers, settings.max_queue),
        keys=KeyStore(settings.database),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with services.workers:
            yield
        services.keys.close()

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
    for module in (segmentations, models, limits, authentication, health):
        app.include_router(module.router)
    errors.install(app)
    describe(app)

    # The last added is the outermost.
    hosts = settings.allowed_hosts or (loopback_names(settings.host) if settings.on_loopback else ())
    if hosts:
        app.add_middleware(HostGuard, hosts=hosts)
    app.add_middleware(CanonicalPaths)
    app.add_middleware(RequestLog)
    return app
