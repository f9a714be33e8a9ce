"""POST /v1/images/segmentations: a picture and a prompt in, masks out."""

import math
import time
from typing import Any

from fastapi import APIRouter, Request, Response

from maskery.api import schemas
from maskery.api.body import read_body
from maskery.api.disconnects import while_connected
from maskery.api.errors import ApiError, ErrorResponse
from maskery.api.openapi import segmentation_body
from maskery.api.request import parse_request, to_job
from maskery.api.response import render
from maskery.api.services import Account, Services, ServicesDependency

router = APIRouter(tags=["segmentation"])

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "Malformed JSON or base64"},
    401: {"model": ErrorResponse, "description": "No API key, or one that is not known"},
    404: {"model": ErrorResponse, "description": "The model is not installed"},
    413: {"model": ErrorResponse, "description": "Too many bytes or pixels"},
    415: {"model": ErrorResponse, "description": "Not an image that is read here"},
    422: {"model": ErrorResponse, "description": "The prompt or an option is wrong; `param` says where"},
    503: {"model": ErrorResponse, "description": "Too many requests are waiting; see Retry-After"},
    504: {"model": ErrorResponse, "description": "The request's time was up"},
}


@router.post(
    "/v1/images/segmentations",
    summary="Segment a picture",
    response_model=schemas.SegmentationResponse,
    responses=_ERRORS,
    openapi_extra={"requestBody": segmentation_body()},
)
async def create_segmentation(request: Request, services: ServicesDependency, account: Account) -> Response:
    """One categorical mask: 0 is background, value k belongs to object k of the prompt."""
    timeout = _timeout(request, services)
    started = time.monotonic()
    body = await read_body(request, services.settings.max_body_bytes, timeout)

    def answer() -> bytes:
        fields, image = parse_request(body)
        request.state.user = fields.user
        job = to_job(fields, image, services.engine.image_limits)
        return render(services.engine.segment(job), fields.response_format or "b64_json")

    work = services.workers.run(answer, timeout, spent=time.monotonic() - started)
    return Response(await while_connected(request, work), media_type="application/json")


def _timeout(request: Request, services: Services) -> float:
    """Seconds that the client allows for its answer, else the server's default."""
    text = request.headers.get("x-request-timeout")
    if text is None:
        return services.settings.default_timeout
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ApiError(422, "invalid_header", "x-request-timeout is a number of seconds above 0.", "x-request-timeout")
    return min(seconds, services.settings.max_timeout)
