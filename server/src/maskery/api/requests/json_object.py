"""JSON read strictly: an object, in UTF-8, no key twice, not nested or filled beyond reason."""

import json
from typing import Any

from maskery.api.errors import ApiError

MAX_DEPTH = 16

# A value costs memory far beyond its two bytes of text; no honest prompt comes near this many.
MAX_VALUES = 1_000_000


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds.

    Raises:
        ApiError: 400; it is not JSON, not an object, says a key twice, is nested or filled beyond reason, or holds
            text that no encoding can carry.
    """
    if body.count(b",") >= MAX_VALUES:
        raise _malformed(f"the body holds more than {MAX_VALUES:,} values")
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
        # Python refuses to read integers of thousands of digits, whose reading takes quadratic time.
        raise _malformed("the body holds a number of thousands of digits") from None
    if not isinstance(value, dict):
        raise _malformed("the body is JSON but not an object, which begins with {")
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
        # JSON can write half of a surrogate pair ("\ud800"); no log, header or answer could say it again.
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise _malformed("the body holds half of a surrogate pair, which is no character")
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
