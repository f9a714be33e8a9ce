"""A replica: the server's application and engine in a process of Ray Serve."""

import asyncio
import logging

import ray
from fastapi import FastAPI
from ray import serve
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskery import logs
from maskery.api.app import create_app
from maskery.api.container import Container, State
from maskery.api.routes.metrics import exposition
from maskery.cluster.metrics import merge
from maskery.settings import Settings, SettingsError

#: The header with the name of the replica that has answered.
REPLICA_HEADER = "x-maskery-replica"

# Seconds for the metrics of all replicas.
_METRICS_TIMEOUT = 5.0

_log = logging.getLogger(__name__)


def build() -> FastAPI:
    """The application of this replica, from the settings of the machine that it runs on.

    Raises:
        ModelNotInstalled, DatabaseError, SettingsError: see `create_app`.
        SettingsError: the replicas run on several machines, and their accounts are in a file on each of them.
    """
    name = serve.get_replica_context().replica_id.unique_id
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format, replica=name)
    if settings.database_url is None and sum(node["Alive"] for node in ray.nodes()) > 1:
        raise SettingsError("replicas on several machines need PostgreSQL for accounts: set MASKERY_DATABASE_URL.")
    app = create_app(settings, replica=name)
    app.dependency_overrides[exposition] = _exposition_of_all
    app.add_middleware(_Named, name=name, state=app.state.container.state)
    _log.info("replica %s has been started", name)
    return app


class Replica:
    """What Ray Serve calls beside the application."""

    app: FastAPI

    def check_health(self) -> None:
        """Raise an exception if the replica must be replaced. An encoder process that is lost is restarted without."""
        if failure := self._container.state.failure:
            raise RuntimeError(f"the replica cannot serve: {failure}")

    async def exposition(self) -> tuple[str, bytes]:
        """The name of this replica, and its metrics."""
        return serve.get_replica_context().replica_id.unique_id, self._container.metrics.exposition()

    @property
    def _container(self) -> Container:
        container: Container = self.app.state.container
        return container


class _Named:
    """ASGI middleware that names the replica in every answer, and delays the end of startup until models are loaded.

    Ray sends requests from then on.
    """

    def __init__(self, app: ASGIApp, name: str, state: State) -> None:
        self._app = app
        self._name = name
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REPLICA_HEADER] = self._name
            elif message["type"] == "lifespan.startup.complete":
                message = await self._when_ready(message)
            await send(message)

        await self._app(scope, receive, send_named)

    async def _when_ready(self, complete: Message) -> Message:
        while self._state.phase == "starting":
            if self._state.failure:
                return {"type": "lifespan.startup.failed", "message": str(self._state.failure)}
            await asyncio.sleep(0.01)
        return complete


async def _exposition_of_all() -> bytes:
    """The metrics of all replicas, each with the label `replica`."""
    context = serve.get_replica_context()
    handle = serve.get_deployment_handle(context.deployment, context.app_name)
    answers = await handle.broadcast("exposition").results_async(timeout_s=_METRICS_TIMEOUT, return_exceptions=True)
    return merge([answer for answer in answers if not isinstance(answer, BaseException)])
