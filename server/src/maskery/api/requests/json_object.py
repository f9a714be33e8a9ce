"""A strict JSON parser: one object in UTF-8, without duplicate keys, with limits on depth and number of values."""

import json
from typing import Any

from maskery.api.errors import ApiError

MAX_DEPTH = 16

# A value of two bytes of text takes far more memory once parsed. Real prompts have far fewer values.
MAX_VALUES = 1_000_000


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Parse a body as one JSON object.

    Raises:
        ApiError: 400; it is not JSON or not an object, it has a duplicate key, too many values or levels of nesting,
            or a lone surrogate.
    """
    if body.count(b",") >= MAX_VALUES:
        raise _malformed(f"the body has more than {MAX_VALUES:,} values")
    try:
        value = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except UnicodeDecodeError:
        raise _malformed("the body is not UTF-8 text") from None
    except RecursionError:
        raise _malformed(f"the body is nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _malformed(f"the body is not JSON: {error.msg} at {place}") from None
    except ValueError:
        # Python refuses integers of thousands of digits, because parsing them takes quadratic time.
        raise _malformed("the body has a number of thousands of digits") from None
    if not isinstance(value, dict):
        raise _malformed("the body is JSON but not an object ({…})")
    _check(value, MAX_DEPTH)
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _malformed(f"the key {key[:100]!r} is given twice", key[:100])
            seen.add(key)
    return value


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        # JSON can contain a lone surrogate ("\ud800"), which cannot be encoded in a log line, header or response.
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise _malformed("the body has a lone surrogate (half of a surrogate pair)")
    elif isinstance(value, dict | list):
        if depth == 0:
            raise _malformed(f"the body is nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            for key in value:
                _check(key, depth)
            value = value.values()
        for inner in value:
            _check(inner, depth - 1)


def _malformed(reason: str, param: str | None = None) -> ApiError:
    return ApiError(400, "malformed_json", f"{reason[:1].upper()}{reason[1:]}.", param)
