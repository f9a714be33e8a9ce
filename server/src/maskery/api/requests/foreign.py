"""Reads requests of labelling tools, which have many more fields than the ones that are used."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from maskery.api.errors import ApiError
from maskery.api.requests.fields import invalid_field
from maskery.api.requests.json_object import MAX_VALUES

Foreign = TypeVar("Foreign", bound=BaseModel)


def read_foreign(body: bytes, kind: type[Foreign], max_values: int = MAX_VALUES) -> Foreign:
    """Read the fields of `kind` from a JSON object; other fields are skipped.

    Args:
        max_values: limit on the number of JSON values, also in fields that are skipped.

    Raises:
        ApiError: 400; it is not a JSON object, or has too many values. 422; a field is missing or invalid.
    """
    if body.count(b",") >= max_values:
        raise ApiError(400, "malformed_json", f"The body has more than {max_values:,} values.")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise ApiError(400, "malformed_json", f"The body is not JSON: {first['ctx']['error']}.") from None
        if not first["loc"]:
            raise ApiError(400, "malformed_json", "The body is JSON but not an object ({…}).") from None
        raise invalid_field(error) from None
