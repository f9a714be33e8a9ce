"""Health checks: liveness and readiness."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from maskery.api.container import ContainerDependency

router = APIRouter(prefix="/health", tags=["health"])


class Health(BaseModel):
    """The server's state."""

    status: Literal["alive", "starting", "ready", "stopping", "failed", "accounts_unavailable"]


@router.get("/live", summary="Liveness")
async def live() -> Health:
    """The process is running and its event loop responds."""
    return Health(status="alive")


@router.get("/ready", summary="Readiness", responses={503: {"model": Health, "description": "Not ready"}})
async def ready(response: Response, container: ContainerDependency) -> Health:
    """Models are loaded, the database of accounts answers, and the server is not shutting down."""
    state = container.state
    if state.failure:
        response.status_code = 503
        return Health(status="failed")
    if state.phase != "ready":
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    elif not container.settings.anonymous and not await container.account_service.is_available():
        response.status_code = 503
        return Health(status="accounts_unavailable")
    return Health(status=state.phase)
