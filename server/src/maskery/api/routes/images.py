"""/v1/images: images that are sent once, ahead, and segmented many times."""

from fastapi import APIRouter, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from maskery.api.container import Container, ContainerDependency
from maskery.api.dependencies import Segmenter, charge
from maskery.api.errors import ApiError, responses, sentence
from maskery.api.requests.body import Body
from maskery.api.requests.processing import serve
from maskery.api.requests.segmentation import parse_preparation
from maskery.api.schemas import segmentation as schemas
from maskery.api.schemas.openapi import preparation_body
from maskery.engine import NotPrepared, Prepared, Timings


class _ImageId(StringConvertor):
    """Anything but the name of the route beside it."""

    regex = "(?!segmentations$)[^/]+"


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
    """Encode an image now, so that clicks on it need not wait for that; the id stands for it in `image_prompt`."""
    engine = container.engine

    async def prepare(body: Body, timings: Timings) -> Prepared:
        with timings.stage("read"):
            fields, image = await engine.aside(lambda: parse_preparation(body))
        request.state.user, request.state.model = fields.user, fields.model
        return await engine.prepare(fields.model, image, caller.account, timings, charge(container, caller))

    prepared = await serve(request, container, prepare)
    response.headers["Location"] = f"/v1/images/{prepared.id}"
    return _schema(prepared, container)


@router.get("/{id:image}", summary="Show a prepared image", responses=responses(401, 403, 404, 429, 503))
async def show_image(id: str, container: ContainerDependency, caller: Segmenter) -> schemas.PreparedSchema:  # noqa: A002
    """Whether it is still there; this counts as a use."""
    try:
        return _schema(container.engine.prepared.get(id, caller.account), container)
    except NotPrepared as error:
        raise _not_found(error) from None


@router.delete(
    "/{id:image}", status_code=204, summary="Forget a prepared image", responses=responses(401, 403, 404, 429, 503)
)
async def delete_image(id: str, container: ContainerDependency, caller: Segmenter) -> None:  # noqa: A002
    """Its embedding too, unless something else may use that."""
    try:
        container.engine.discard(id, caller.account)
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
