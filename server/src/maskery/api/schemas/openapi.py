"""Completes the OpenAPI document: FastAPI does not see the bodies that routes read themselves."""

import base64
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from maskery.api.routes import docs_page
from maskery.api.schemas.segmentation import PreparationRequest, SegmentationRequest
from maskery.models import DEFAULT_MODEL
from maskery.segmentation import to_png

_SCHEMA = "SegmentationRequest"
_FORM_SCHEMA = "SegmentationForm"


def _form(title: str, of: str) -> dict[str, Any]:
    """The schema of a form with the image's file and the rest of the request as JSON text."""
    return {
        "title": title,
        "description": "The image's file without base64, and the rest of the request as JSON.",
        "type": "object",
        "properties": {
            "image": {"type": "string", "format": "binary", "description": "The image's file."},
            "request": {
                "type": "string",
                "contentMediaType": "application/json",
                "description": f"A {of} without image_prompt, as JSON text.",
            },
        },
        "required": ["image", "request"],
    }


_PREPARATION_SCHEMA = "PreparationRequest"
_PREPARATION_FORM_SCHEMA = "PreparationForm"

_TOKEN_FORM = {
    "type": "object",
    "properties": {
        "grant_type": {"type": "string", "const": "client_credentials"},
        "client_id": {"type": "string", "description": "The account."},
        "client_secret": {"type": "string", "description": "The API key."},
    },
    "required": ["grant_type", "client_id", "client_secret"],
}


# The bodies that routes read themselves, by schema name.
_OBJECTS: dict[str, type[BaseModel]] = {_SCHEMA: SegmentationRequest, _PREPARATION_SCHEMA: PreparationRequest}


def segmentation_body() -> dict[str, Any]:
    """The body of POST /v1/images/segmentations, with complete examples."""
    image = base64.b64encode(_tiny_image()).decode("ascii")
    base = {"model": DEFAULT_MODEL, "image_prompt": image}
    examples: dict[str, dict[str, Any]] = {
        "one object": {**base, "segment_prompt": [[[12, 12]]]},
        "two objects": {**base, "segment_prompt": [[[12, 12]], [[40, 40]]]},
        "not this part": {**base, "segment_prompt": [[[12, 12], [40, 40]]], "point_labels": [[1, 0]]},
    }
    return _body(_SCHEMA, _FORM_SCHEMA, examples)


def preparation_body() -> dict[str, Any]:
    """The body of POST /v1/images."""
    image = base64.b64encode(_tiny_image()).decode("ascii")
    examples: dict[str, dict[str, Any]] = {"an image": {"model": DEFAULT_MODEL, "image_prompt": image}}
    return _body(_PREPARATION_SCHEMA, _PREPARATION_FORM_SCHEMA, examples)


def _body(schema: str, form: str, examples: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{schema}"},
                "examples": {name: {"value": value} for name, value in examples.items()},
            },
            "multipart/form-data": {"schema": {"$ref": f"#/components/schemas/{form}"}},
        },
    }


def token_body() -> dict[str, Any]:
    """The form of the token route."""
    return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _TOKEN_FORM}}}


def validation_body() -> dict[str, Any]:
    """The body that older clients send to /authentication/validate; newer ones send none."""
    schema = {"type": "object", "properties": {"api_key": {"type": "string"}}}
    return {"required": False, "content": {"application/json": {"schema": schema}}}


def object_body(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON body of a route that reads it itself."""
    _OBJECTS[kind.__name__] = kind
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def describe(app: FastAPI) -> None:
    """Add the bodies to the document, and serve its page with all assets at /docs, so that it works offline."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            document = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes, tags=app.openapi_tags
            )
            schemas = document["components"]["schemas"]
            for name, kind in _OBJECTS.items():
                schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(schema.pop("$defs", {}))
                schemas[name] = schema
            for name, form in ((_SCHEMA, _FORM_SCHEMA), (_PREPARATION_SCHEMA, _PREPARATION_FORM_SCHEMA)):
                schemas[form] = _form(form, name)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    docs_page.add_to(app)


def _tiny_image() -> bytes:
    """A light and a dark square on gray, 56 × 56 pixels: a PNG short enough for a documentation page."""
    image = np.full((56, 56), 128, np.uint8)
    image[6:20, 6:20] = 250
    image[32:48, 32:48] = 10
    return to_png(image)
