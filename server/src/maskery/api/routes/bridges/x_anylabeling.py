"""The remote server of X-AnyLabeling, below /x-anylabeling."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from maskery.accounts import Caller
from maskery.api.container import ContainerDependency
from maskery.api.requests.body import Body
from maskery.api.requests.foreign import read_foreign
from maskery.api.requests.image_field import decode_image
from maskery.api.requests.processing import process
from maskery.api.routes.bridges.common import LoggedRoute, admitted, authenticated, names_of, segment
from maskery.bridges.x_anylabeling import Prediction, describe, to_answer
from maskery.engine import Timings, Upload
from maskery.segmentation import Segmentation
from maskery.settings import Settings

_authenticate = authenticated(
    lambda request: request.headers.get("token"), "Token", "it as the API key of the remote server, in the header Token"
)

AnyCaller = Annotated[Caller, Depends(_authenticate)]
Segmenter = Annotated[Caller, Depends(admitted(_authenticate), scope="function")]


def make_router(_: Settings) -> APIRouter:
    router = APIRouter(prefix="/x-anylabeling/v1", include_in_schema=False, route_class=LoggedRoute)
    router.get("/models")(list_models)
    router.post("/predict")(predict)
    return router


def list_models(container: ContainerDependency, caller: AnyCaller) -> dict[str, Any]:
    return describe(names_of(container))


async def predict(request: Request, container: ContainerDependency, caller: Segmenter) -> Response:
    async def answer(parsed: tuple[Prediction, Upload], timings: Timings) -> bytes:
        prediction, image = parsed
        prompt = prediction.prompt()

        def write(segmentation: Segmentation) -> bytes:
            return json.dumps(to_answer(segmentation, prediction.params.epsilon_factor)).encode()

        if prompt is None:
            return json.dumps(to_answer(None)).encode()
        return await segment(request, container, caller, prediction.model, image, prompt, write, timings)

    return Response(await process(request, container, _parse, answer), media_type="application/json")


def _parse(body: Body) -> tuple[Prediction, Upload]:
    prediction = read_foreign(body.json, Prediction)
    return prediction, Upload(decode_image(prediction.image, "image"))
