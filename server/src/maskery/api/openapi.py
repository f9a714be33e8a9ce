"""The OpenAPI document: what FastAPI cannot see, because the segmentation route reads its body itself."""

import base64
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_swagger import patch_fastapi

from maskery.api.schemas import SegmentationRequest
from maskery.models import DEFAULT_MODEL
from maskery.segmentation import to_png

_SCHEMA = "SegmentationRequest"


def segmentation_body() -> dict[str, Any]:
    """The body of POST /v1/images/segmentations, with examples that can be sent as they stand."""
    picture = base64.b64encode(_tiny_picture()).decode("ascii")
    base = {"model": DEFAULT_MODEL, "image_prompt": picture}
    examples = {
        "one object": {**base, "segment_prompt": [[[12, 12]]]},
        "two objects": {**base, "segment_prompt": [[[12, 12]], [[40, 40]]]},
        "not this part": {**base, "segment_prompt": [[[12, 12], [40, 40]]], "point_labels": [[1, 0]]},
    }
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{_SCHEMA}"},
                "examples": {name: {"value": value} for name, value in examples.items()},
            }
        },
    }


def describe(app: FastAPI) -> None:
    """Complete the document, and serve it at /docs with everything the page needs, so that it works offline."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            document = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes, tags=app.openapi_tags
            )
            schema = SegmentationRequest.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = document["components"]["schemas"]
            schemas.update(schema.pop("$defs", {}))
            schemas[_SCHEMA] = schema
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    patch_fastapi(app)


def _tiny_picture() -> bytes:
    """A light and a dark square on gray, 56 × 56 pixels: a PNG short enough for a page of documentation."""
    picture = np.full((56, 56), 128, np.uint8)
    picture[6:20, 6:20] = 250
    picture[32:48, 32:48] = 10
    return to_png(picture)
