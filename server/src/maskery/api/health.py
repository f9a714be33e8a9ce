"""Is the process alive, and may requests be sent to it."""

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter(prefix="/health", tags=["health"])


class Health(BaseModel):
    """The server's state in a word."""

    status: str


@router.get("/live", summary="Liveness")
async def live() -> Health:
    """The process runs and its event loop turns."""
    return Health(status="alive")


@router.get("/ready", summary="Readiness")
async def ready() -> Health:
    """Requests are answered: the server does not accept connections before its models are loaded."""
    return Health(status="ready")
