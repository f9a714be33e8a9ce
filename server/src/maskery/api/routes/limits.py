"""GET /v1/limits: the limits on requests."""

from fastapi import APIRouter

from maskery.api.container import ContainerDependency
from maskery.api.dependencies import AnyCaller
from maskery.api.errors import responses
from maskery.api.requests.body import MAX_FORM_REQUEST
from maskery.api.requests.json_object import MAX_DEPTH, MAX_VALUES
from maskery.api.schemas import segmentation as schemas
from maskery.segmentation import READABLE

router = APIRouter(tags=["limits"])


@router.get(
    "/v1/limits",
    summary="Show the limits in force",
    responses=responses(401, 403, 503),
)
async def show_limits(container: ContainerDependency, caller: AnyCaller) -> schemas.LimitsSchema:
    """Requests above a limit are rejected early, with 413 or 422."""
    settings = container.settings
    return schemas.LimitsSchema(
        max_body_bytes=settings.max_body_bytes,
        max_form_request_bytes=MAX_FORM_REQUEST,
        max_image_bytes=settings.max_image_bytes,
        max_image_pixels=settings.max_image_pixels,
        max_objects=settings.max_objects,
        max_points=settings.max_points,
        max_label_characters=container.engine.limits.prompt.max_label,
        max_mask_prompt_pixels=container.engine.limits.prompt.max_mask_pixels,
        max_json_depth=MAX_DEPTH,
        max_json_values=MAX_VALUES,
        default_timeout=settings.default_timeout,
        max_timeout=settings.max_timeout,
        image_formats=list(READABLE),
    )
