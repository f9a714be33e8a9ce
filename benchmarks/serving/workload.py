"""What clients are told to do, as it goes to their process and comes back."""

from dataclasses import dataclass, field
from typing import Literal

Target = Literal["known", "new", "prepared"]


@dataclass(frozen=True)
class Work:
    """Requests of one kind. Each client waits for its answer before it asks again.

    Attributes:
        target: known images, sent again; new ones; or known ones by the name that the server gave them.
        clients: at the same time.
        requests: at most.
        seconds: after which no request is sent any more, once `least` have been.
        images: how many different ones, in turn; new ones differ always.
        pause: seconds between an answer and that client's next request.
    """

    target: Target = "known"
    clients: int = 1
    requests: int = 1
    seconds: float = 600.0
    least: int = 1
    images: int = 1
    objects: int = 1
    pause: float = 0.0


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        latencies: seconds from sending a request to having its whole answer, of those answered well.
        seconds: from the first request to the last answer.
        errors: what else was answered, and how often.
    """

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
