"""/v1/images: pictures that are sent once, ahead, and segmented many times."""

from fastapi import APIRouter, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from maskery.api import schemas
from maskery.api.body import Body
from maskery.api.callers import Segmenter, charge
from maskery.api.errors import ApiError, responses, sentence
from maskery.api.openapi import preparation_body
from maskery.api.request import parse_preparation
from maskery.api.services import Services, ServicesDependency
from maskery.api.serving import serve
from maskery.engine import NotPrepared, Prepared, Trace


class _PictureId(StringConvertor):
    """Anything but the name of the route beside it."""

    regex = "(?!segmentations$)[^/]+"


register_url_convertor("picture", _PictureId())

router = APIRouter(prefix="/v1/images", tags=["prepared pictures"])


@router.post(
    "",
    status_code=201,
    summary="Prepare a picture",
    response_model=schemas.PreparedSchema,
    responses=responses(400, 401, 403, 404, 413, 415, 422, 429, 501, 503, 504),
    openapi_extra={"requestBody": preparation_body()},
)
async def prepare_image(
    request: Request, response: Response, services: ServicesDependency, caller: Segmenter
) -> schemas.PreparedSchema:
    """Encode a picture now, so that clicks on it need not wait for that; the id stands for it in `image_prompt`."""
    engine = services.engine

    async def prepare(body: Body, trace: Trace) -> Prepared:
        with trace.stage("read"):
            fields, image = await engine.aside(lambda: parse_preparation(body))
        request.state.user, request.state.model = fields.user, fields.model
        return await engine.prepare(fields.model, image, caller.account, trace, charge(services, caller))

    prepared = await serve(request, services, prepare)
    response.headers["Location"] = f"/v1/images/{prepared.id}"
    return _schema(prepared, services)


@router.get("/{id:picture}", summary="Show a prepared picture", responses=responses(401, 403, 404, 429, 503))
async def show_image(id: str, services: ServicesDependency, caller: Segmenter) -> schemas.PreparedSchema:  # noqa: A002
    """Whether it is still there; this counts as a use."""
    try:
        return _schema(services.engine.prepared.get(id, caller.account), services)
    except NotPrepared as error:
        raise _not_found(error) from None


@router.delete(
    "/{id:picture}", status_code=204, summary="Forget a prepared picture", responses=responses(401, 403, 404, 429, 503)
)
async def delete_image(id: str, services: ServicesDependency, caller: Segmenter) -> None:  # noqa: A002
    """Its embedding too, unless something else may use that."""
    try:
        services.engine.discard(id, caller.account)
    except NotPrepared as error:
        raise _not_found(error) from None


def _schema(prepared: Prepared, services: Services) -> schemas.PreparedSchema:
    return schemas.PreparedSchema(
        id=prepared.id,
        created=prepared.created,
        model=prepared.key.model,
        width=prepared.size.width,
        height=prepared.size.height,
        expires_in=services.settings.prepared_seconds,
    )


def _not_found(error: NotPrepared) -> ApiError:
    return ApiError(404, "image_not_prepared", sentence(error), "id")
