"""What a key may do."""

from collections.abc import Iterable
from typing import Literal, get_args

Scope = Literal["segment", "metrics", "admin"]

#: segment: send images and prompts. metrics: read /metrics. admin: make and revoke keys, set limits, read usage.
SCOPES: tuple[Scope, ...] = get_args(Scope)

#: Of a key that is made without naming any.
DEFAULT_SCOPES: tuple[Scope, ...] = ("segment", "metrics")


def parse_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """Rights by name, in the order of `SCOPES`.

    Raises:
        ValueError: one of them is no right, or there is none.
    """
    wanted = set(names)
    if not wanted or not wanted <= set(SCOPES):
        wrong = ", ".join(repr(name) for name in sorted(wanted - set(SCOPES))) or "nothing"
        raise ValueError(f"{wrong} is no scope of a key; there are {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in wanted)
