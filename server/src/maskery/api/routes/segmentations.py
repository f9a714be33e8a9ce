"""POST /v1/images/segmentations: segment an image."""

from fastapi import APIRouter, Request, Response

from maskery.api.container import ContainerDependency
from maskery.api.dependencies import Segmenter, quota_hook
from maskery.api.errors import responses
from maskery.api.requests.processing import process
from maskery.api.requests.record import record_of
from maskery.api.requests.segmentation import parse_request, to_job
from maskery.api.schemas import segmentation as schemas
from maskery.api.schemas.openapi import segmentation_body
from maskery.api.schemas.rendering import render
from maskery.engine import Reference, Timings, Upload

router = APIRouter(tags=["segmentation"])


@router.post(
    "/v1/images/segmentations",
    summary="Segment an image",
    response_model=schemas.SegmentationResponse,
    responses=responses(400, 401, 403, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra={"requestBody": segmentation_body()},
)
async def create_segmentation(request: Request, container: ContainerDependency, caller: Segmenter) -> Response:
    """Returns one categorical mask: 0 is background, value k is object k of the prompt."""
    engine, record = container.engine, record_of(request)

    async def segment(parsed: tuple[schemas.SegmentationRequest, Upload | Reference], timings: Timings) -> bytes:
        fields, image = parsed
        record.user, record.model = fields.user, fields.model
        record.session_id = image.session_id if isinstance(image, Upload) else None
        job = to_job(fields, image, engine.limits.image, caller.account, quota_hook(container, caller))
        form, tolerance = fields.response_format or "b64_json", fields.polygon_tolerance or 0.0
        return await engine.segment(job, lambda segmentation: render(segmentation, form, tolerance), timings)

    return Response(await process(request, container, parse_request, segment), media_type="application/json")
