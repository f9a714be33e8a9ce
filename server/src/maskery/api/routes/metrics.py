"""GET /metrics: metrics for Prometheus."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from maskery.api.container import ContainerDependency
from maskery.api.dependencies import Credentials, authenticate, require_scope
from maskery.api.errors import responses
from maskery.engine import CONTENT_TYPE

router = APIRouter(tags=["operation"])


async def _may_read(request: Request, container: ContainerDependency, credentials: Credentials) -> None:
    if not container.settings.open_metrics:
        await require_scope("metrics")(await authenticate(request, container, credentials))


async def exposition(container: ContainerDependency) -> bytes:
    """The metrics of this process. A cluster overrides this dependency with those of all replicas."""
    return container.metrics.exposition()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"},
        **responses(401, 403, 503),
    },
    dependencies=[Depends(_may_read)],
)
async def show_metrics(text: Annotated[bytes, Depends(exposition)]) -> Response:
    """Requests, durations by stage, queues, cache and memory."""
    return Response(text, media_type=CONTENT_TYPE)
