"""/v1/images: prepared images, which are sent once and segmented many times."""

from fastapi import APIRouter, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from maskery.api.container import Container, ContainerDependency
from maskery.api.dependencies import Segmenter, quota_hook
from maskery.api.errors import ApiError, responses, sentence
from maskery.api.requests.processing import process
from maskery.api.requests.record import record_of
from maskery.api.requests.segmentation import parse_preparation
from maskery.api.schemas import segmentation as schemas
from maskery.api.schemas.openapi import preparation_body
from maskery.engine import NotPrepared, Prepared, Timings, Upload


class _ImageId(StringConvertor):
    """Only ids: other paths below /v1/images, such as OpenAI's `generations`, do not exist here."""

    regex = "img_[^/]+"


register_url_convertor("image", _ImageId())

router = APIRouter(prefix="/v1/images", tags=["prepared images"])


@router.post(
    "",
    status_code=201,
    summary="Prepare an image",
    response_model=schemas.PreparedSchema,
    responses=responses(400, 401, 403, 404, 413, 415, 422, 429, 501, 503, 504),
    openapi_extra={"requestBody": preparation_body()},
)
async def prepare_image(
    request: Request, response: Response, container: ContainerDependency, caller: Segmenter
) -> schemas.PreparedSchema:
    """Encodes an image in advance. Send `id:` and the returned id as `image_prompt` to segment it."""
    engine, record = container.engine, record_of(request)

    async def prepare(parsed: tuple[schemas.PreparationRequest, Upload], timings: Timings) -> Prepared:
        fields, image = parsed
        record.user, record.model, record.session_id = fields.user, fields.model, image.session_id
        return await engine.prepare(fields.model, image, caller.account, timings, quota_hook(container, caller))

    prepared = await process(request, container, parse_preparation, prepare)
    response.headers["Location"] = f"{request.scope['root_path']}/v1/images/{prepared.id}"
    return _schema(prepared, container)


@router.get("/{id:image}", summary="Show a prepared image", responses=responses(401, 403, 404, 429, 503))
async def show_image(id: str, container: ContainerDependency, caller: Segmenter) -> schemas.PreparedSchema:  # noqa: A002
    """Returns the image if it has not expired. Counts as a use."""
    try:
        return _schema(await container.engine.show(id, caller.account), container)
    except NotPrepared as error:
        raise _not_found(error) from None


@router.delete(
    "/{id:image}", status_code=204, summary="Delete a prepared image", responses=responses(401, 403, 404, 429, 503)
)
async def delete_image(id: str, container: ContainerDependency, caller: Segmenter) -> None:  # noqa: A002
    """Deletes the image and, unless it is shared, its embedding."""
    try:
        await container.engine.discard(id, caller.account)
    except NotPrepared as error:
        raise _not_found(error) from None


def _schema(prepared: Prepared, container: Container) -> schemas.PreparedSchema:
    return schemas.PreparedSchema(
        id=prepared.id,
        created=prepared.created,
        model=prepared.key.model,
        width=prepared.size.width,
        height=prepared.size.height,
        expires_in=container.settings.prepared_seconds,
    )


def _not_found(error: NotPrepared) -> ApiError:
    return ApiError(404, "image_not_prepared", sentence(error), "id")
