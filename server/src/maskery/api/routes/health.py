"""Is the process alive, and may requests be sent to it."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from maskery.api.container import ContainerDependency

router = APIRouter(prefix="/health", tags=["health"])


class Health(BaseModel):
    """The server's state in a word."""

    status: Literal["alive", "starting", "ready", "stopping", "failed"]


@router.get("/live", summary="Liveness")
async def live() -> Health:
    """The process runs and its event loop turns."""
    return Health(status="alive")


@router.get("/ready", summary="Readiness", responses={503: {"model": Health, "description": "Not now"}})
async def ready(response: Response, container: ContainerDependency) -> Health:
    """Models are loaded, and the server has not been told to stop."""
    state = container.state
    if state.failure:
        response.status_code = 503
        return Health(status="failed")
    if state.phase != "ready":
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return Health(status=state.phase)
