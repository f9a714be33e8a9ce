"""An ML backend for Label Studio, below /label-studio or, for another model than the default, /label-studio/MODEL."""

import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response

from maskery.accounts import Caller
from maskery.api.container import ContainerDependency
from maskery.api.requests.body import Body, read_body
from maskery.api.requests.foreign import read_foreign
from maskery.api.requests.processing import process
from maskery.api.routes.bridges.common import LoggedRoute, admitted, authenticated, segment
from maskery.bridges.label_studio import (
    LabelStudioImages,
    Prediction,
    RegionPrompt,
    Setup,
    find_output,
    to_results,
)
from maskery.engine import Timings, Upload
from maskery.models import DEFAULT_MODEL
from maskery.segmentation import Segmentation
from maskery.settings import Settings

# With a task, Label Studio sends all of its annotations. A brush is a list of numbers, ten thousand or more.
_MAX_VALUES = 4_000_000


def _password(request: Request) -> str | None:
    """The password of HTTP Basic authentication, which is the API key; the user name can be anything."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


_authenticate = authenticated(
    _password, 'Basic realm="Maskery"', "it as the password of Basic authentication in the settings of the model"
)

AnyCaller = Annotated[Caller, Depends(_authenticate)]
Segmenter = Annotated[Caller, Depends(admitted(_authenticate), scope="function")]


def make_router(settings: Settings) -> APIRouter:
    """The routes of the backend.

    Label Studio appends the last part of each path to the address that its user enters, which may end with the name of
    a model, or with a slash.
    """
    images = LabelStudioImages(settings.label_studio_url or "", settings.label_studio_token, settings.max_image_bytes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await images.close()

    router = APIRouter(
        prefix="/label-studio{model:path}", include_in_schema=False, route_class=LoggedRoute, lifespan=lifespan
    )

    @router.get("/health")
    def health(container: ContainerDependency, caller: AnyCaller, model: str) -> dict[str, str]:
        return {"status": "UP", "model_class": container.models.describe(_name(model)).name}

    @router.post("/setup")
    async def setup(request: Request, container: ContainerDependency, caller: AnyCaller, model: str) -> dict[str, str]:
        with container.engine.admission.ticket() as ticket:
            body = await read_body(request, settings.max_body_bytes, settings.default_timeout, ticket.reserve_bytes)
            find_output(read_foreign(body.json, Setup).configuration)
        listing = await container.engine.run_in_thread(partial(container.models.describe, _name(model)))
        return {"model_version": listing.name}

    @router.post("/webhook", status_code=201)
    async def webhook() -> dict[str, str]:
        """Events of the project, such as a new annotation. Nothing is trained, so they are not even read.

        Label Studio sends them without the key that it has for the backend.
        """
        return {"status": "ok"}

    @router.post("/predict")
    async def predict(request: Request, container: ContainerDependency, caller: Segmenter, model: str) -> Response:
        engine, name = container.engine, _name(model)

        async def answer(prediction: Prediction, timings: Timings) -> bytes:
            if not prediction.regions:
                # Predictions for whole tasks: an empty list means that there are none.
                return json.dumps({"results": [[] for _ in prediction.tasks]}).encode()
            output = find_output(prediction.label_config, prediction.regions[0].to_name)
            prompt = RegionPrompt.of(prediction.regions, output)
            source, task = prediction.image(output.field)

            def write(segmentation: Segmentation) -> bytes:
                rotation = prediction.regions[0].image_rotation
                results = to_results(segmentation, prompt.labels_by_object, output, rotation)
                score = segmentation.masks[0].score
                return json.dumps({"results": [{"result": results, "score": score, "model_version": name}]}).encode()

            with engine.admission.ticket() as ticket:
                with timings.stage("read"):
                    data = await images.fetch(source, task, ticket.reserve_bytes)
                image = await engine.run_in_thread(partial(Upload, data))
                return await segment(request, container, caller, name, image, prompt, write, timings)

        def parse(body: Body) -> Prediction:
            return read_foreign(body.json, Prediction, _MAX_VALUES)

        return Response(await process(request, container, parse, answer), media_type="application/json")

    return router


def _name(path: str) -> str:
    return path.strip("/") or DEFAULT_MODEL
