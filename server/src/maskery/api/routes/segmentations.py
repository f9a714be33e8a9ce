"""POST /v1/images/segmentations: a picture and a prompt in, masks out."""

from fastapi import APIRouter, Request, Response

from maskery.api import schemas
from maskery.api.body import Body
from maskery.api.callers import Segmenter, charge
from maskery.api.errors import responses
from maskery.api.openapi import segmentation_body
from maskery.api.request import parse_request, to_job
from maskery.api.response import render
from maskery.api.services import ServicesDependency
from maskery.api.serving import serve
from maskery.engine import Trace

router = APIRouter(tags=["segmentation"])


@router.post(
    "/v1/images/segmentations",
    summary="Segment a picture",
    response_model=schemas.SegmentationResponse,
    responses=responses(400, 401, 403, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra={"requestBody": segmentation_body()},
)
async def create_segmentation(request: Request, services: ServicesDependency, caller: Segmenter) -> Response:
    """One categorical mask: 0 is background, value k belongs to object k of the prompt."""
    engine = services.engine

    async def segment(body: Body, trace: Trace) -> bytes:
        with trace.stage("read"):
            fields, image = await engine.aside(lambda: parse_request(body))
        request.state.user, request.state.model = fields.user, fields.model
        job = to_job(fields, image, engine.limits.image, caller.account, charge(services, caller))
        form = fields.response_format or "b64_json"
        return await engine.segment(job, lambda segmentation: render(segmentation, form), trace)

    return Response(await serve(request, services, segment), media_type="application/json")
