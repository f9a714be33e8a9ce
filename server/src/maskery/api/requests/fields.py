"""What is said of fields that a request should not have, or not like this."""

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from maskery.api.errors import ApiError

# The pattern of `size`, were it not for its number of digits.
_ANY_SIZE = re.compile("[1-9][0-9]*x[1-9][0-9]*")

Fields = TypeVar("Fields", bound=BaseModel)


def parse_object(values: dict[str, Any], kind: type[Fields]) -> Fields:
    """Check the names and types of a JSON object's values, and of those of the objects in it.

    Raises:
        ApiError: 422 with the path of the field.
    """
    names = tuple(kind.model_fields)
    for name in values:
        if name not in names:
            raise unknown_field(name, name, names, names)
    for name, field in kind.model_fields.items():
        if field.is_required() and name not in values:
            raise ApiError(422, "missing_field", f"The field {name} is missing.", name)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _invalid_within(error) from None


def _invalid_within(error: ValidationError) -> ApiError:
    first = error.errors()[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    if first["type"] == "extra_forbidden":
        return ApiError(422, "unknown_field", f"There is no field {path[:100]!r}.", path[:120])
    reason = first["msg"].removeprefix("Value error, ")
    return ApiError(422, "invalid_field", f"{path}: {reason[:1].lower()}{reason[1:]}.", path[:120])


def unknown_field(name: str, param: str, known: Sequence[str], options: Sequence[str]) -> ApiError:
    """There is no such field; perhaps one of a similar name."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    guess = f" Did you mean {near[0]}?" if near else f" Options are {', '.join(options)}."
    return ApiError(422, "unknown_field", f"There is no field {name[:100]!r}.{guess}", param[:120])


def invalid_field(error: ValidationError, nested: Collection[str] = ()) -> ApiError:
    """The first field that pydantic refused.

    Args:
        nested: names of fields that stood inside `extra_body`.
    """
    first = error.errors()[0]
    name = str(first["loc"][0])
    param = f"extra_body.{name}" if name in nested else name
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "model_type":
        reason = "write an object"
    if first["type"] == "string_pattern_mismatch":
        too_large = _ANY_SIZE.fullmatch(first["input"])
        example = "write WIDTHxHEIGHT in pixels, such as 640x480"
        reason = "too large: a side has at most 99,999 pixels" if too_large else example
    return ApiError(422, "invalid_field", f"{name}: {reason[:1].lower()}{reason[1:]}.", param)
