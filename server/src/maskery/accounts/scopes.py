"""Scopes: what an API key may be used for."""

from collections.abc import Iterable
from typing import Literal, get_args

Scope = Literal["segment", "metrics", "admin"]

#: segment: send images and prompts. metrics: read /metrics. admin: manage accounts, keys and limits, read usage.
SCOPES: tuple[Scope, ...] = get_args(Scope)

#: Scopes of a key that is created without any.
DEFAULT_SCOPES: tuple[Scope, ...] = ("segment", "metrics")


def parse_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """Scopes by name, in the order of `SCOPES`.

    Raises:
        ValueError: a name is not a scope, or there are none.
    """
    wanted = set(names)
    if unknown := sorted(wanted - set(SCOPES)):
        raise ValueError(f"unknown scope {', '.join(map(repr, unknown))}; the scopes are {', '.join(SCOPES)}")
    if not wanted:
        raise ValueError(f"a key needs at least one scope of {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in wanted)
