"""What a key may do."""

from collections.abc import Iterable
from typing import Literal, get_args

Right = Literal["segment", "metrics", "admin"]

#: segment: send pictures and prompts. metrics: read /metrics. admin: make and revoke keys, set limits, read usage.
RIGHTS: tuple[Right, ...] = get_args(Right)

#: Of a key that is made without naming any.
USUAL_RIGHTS: tuple[Right, ...] = ("segment", "metrics")


def check_rights(names: Iterable[str]) -> tuple[Right, ...]:
    """Rights by name, in the order of `RIGHTS`.

    Raises:
        ValueError: one of them is no right, or there is none.
    """
    wanted = set(names)
    if not wanted or not wanted <= set(RIGHTS):
        wrong = ", ".join(repr(name) for name in sorted(wanted - set(RIGHTS))) or "nothing"
        raise ValueError(f"{wrong} is no right of a key; there are {', '.join(RIGHTS)}")
    return tuple(right for right in RIGHTS if right in wanted)
