"""GET /metrics: what Prometheus reads."""

from fastapi import APIRouter, Depends, Request, Response

from maskery.api.callers import Credentials, authenticate, having
from maskery.api.errors import responses
from maskery.api.services import ServicesDependency
from maskery.engine import CONTENT_TYPE

router = APIRouter(tags=["operation"])


async def _may_read(request: Request, services: ServicesDependency, credentials: Credentials) -> None:
    if not services.settings.open_metrics:
        await having("metrics")(await authenticate(request, services, credentials))


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
async def show_metrics(services: ServicesDependency) -> Response:
    """Requests, seconds by stage, queues, cache and memory."""
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE)
