"""Values in error messages."""

import json
from typing import Any

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "text"),
    (list, "a list"),
)


def exact(number: float) -> str:
    """A number with all its digits: a coordinate may be outside by the last of them."""
    return str(number).removesuffix(".0")


def plural(count: int, one: str, more: str = "") -> str:
    """A count with its noun, such as ``2 points``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def kind(value: Any) -> str:
    """The type of a JSON value as a noun with its article."""
    return next((noun for types, noun in _KINDS if isinstance(value, types)), "an object")


def show(value: Any) -> str:
    """A JSON value, shortened to fit a sentence."""
    if isinstance(value, list | dict):
        return kind(value)
    if isinstance(value, int) and abs(value) > 10**15:
        return "a huge number"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"
