"""GET /metrics: what Prometheus reads."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response, Security
from fastapi.security import HTTPAuthorizationCredentials

from maskery.api.errors import responses
from maskery.api.services import ServicesDependency, account_of, bearer
from maskery.engine import CONTENT_TYPE

router = APIRouter(tags=["operation"])


async def _may_read(
    services: ServicesDependency, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> None:
    if not services.settings.open_metrics:
        await account_of(services, credentials.credentials if credentials else None)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}, **responses(401)},
    dependencies=[Depends(_may_read)],
)
async def show_metrics(services: ServicesDependency) -> Response:
    """Requests, seconds by stage, queues, cache and memory."""
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE)
