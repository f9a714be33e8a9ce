"""Checks the fields of a JSON object against a pydantic model."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from maskery.api.errors import ApiError

Fields = TypeVar("Fields", bound=BaseModel)


def parse_fields(values: Mapping[str, Any], kind: type[Fields], nested: Collection[str] = ()) -> Fields:
    """Validate the names and types of an object's fields.

    Args:
        nested: names of the fields that were sent inside `extra_body`.

    Raises:
        ApiError: 422 with the path of the first invalid field.
    """
    for name in values:
        if name not in kind.model_fields:
            raise unknown_field(name, kind.model_fields)
    for name, field in kind.model_fields.items():
        if field.is_required() and name not in values:
            raise ApiError(422, "missing_field", f"The field {name} is missing.", name)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise invalid_field(error, nested) from None


def unknown_field(name: str, known: Collection[str], path: str = "") -> ApiError:
    """The error for a field that does not exist; suggests a similar name.

    Args:
        path: of the object that contains the field, with a dot at its end.
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"Did you mean {near[0]}?" if near else f"Known fields: {', '.join(known)}."
    return ApiError(422, "unknown_field", f"There is no field {path + name[:100]!r}. {hint}", (path + name)[:120])


def invalid_field(error: ValidationError, nested: Collection[str] = ()) -> ApiError:
    """The error for the first invalid field; `nested` as of `parse_fields`."""
    first = error.errors()[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    if first["loc"][0] in nested:
        path = f"extra_body.{path}"
    if first["type"] == "extra_forbidden":
        return ApiError(422, "unknown_field", f"There is no field {path[:100]!r}.", path[:120])
    reason = "must be an object" if first["type"] == "model_type" else first["msg"].removeprefix("Value error, ")
    return ApiError(422, "invalid_field", f"{path}: {reason[:1].lower()}{reason[1:]}.", path[:120])
