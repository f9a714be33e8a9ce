"""POST /v1/images/segmentations: an image and a prompt in, masks out."""

from fastapi import APIRouter, Request, Response

from maskery.api.container import ContainerDependency
from maskery.api.dependencies import Segmenter, charge
from maskery.api.errors import responses
from maskery.api.requests.body import Body
from maskery.api.requests.processing import serve
from maskery.api.requests.segmentation import parse_request, to_job
from maskery.api.schemas import segmentation as schemas
from maskery.api.schemas.openapi import segmentation_body
from maskery.api.schemas.rendering import render
from maskery.engine import Timings

router = APIRouter(tags=["segmentation"])


@router.post(
    "/v1/images/segmentations",
    summary="Segment an image",
    response_model=schemas.SegmentationResponse,
    responses=responses(400, 401, 403, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra={"requestBody": segmentation_body()},
)
async def create_segmentation(request: Request, container: ContainerDependency, caller: Segmenter) -> Response:
    """One categorical mask: 0 is background, value k belongs to object k of the prompt."""
    engine = container.engine

    async def segment(body: Body, timings: Timings) -> bytes:
        with timings.stage("read"):
            fields, image = await engine.aside(lambda: parse_request(body))
        request.state.user, request.state.model = fields.user, fields.model
        job = to_job(fields, image, engine.limits.image, caller.account, charge(container, caller))
        form = fields.response_format or "b64_json"
        return await engine.segment(job, lambda segmentation: render(segmentation, form), timings)

    return Response(await serve(request, container, segment), media_type="application/json")
