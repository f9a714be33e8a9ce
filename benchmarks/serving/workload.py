"""Workloads and outcomes, as they are sent to and from the clients' process."""

from dataclasses import dataclass, field
from typing import Literal

Target = Literal["known", "new", "prepared"]


@dataclass(frozen=True)
class Workload:
    """Requests of one kind. Each client waits for an answer before its next request.

    Attributes:
        target: known images, new images, or prepared images by ID.
        clients: number of concurrent clients.
        requests: number of requests, at most.
        seconds: after which no more requests are sent, once `min_requests` have been.
        images: number of different known images; new images always differ.
        pause: seconds between an answer and the client's next request.
    """

    target: Target = "known"
    clients: int = 1
    requests: int = 1
    seconds: float = 600.0
    min_requests: int = 1
    images: int = 1
    objects: int = 1
    pause: float = 0.0


@dataclass
class Outcome:
    """The result of a workload.

    Attributes:
        latencies: seconds from sending a request to its complete answer, for successful requests.
        seconds: from the first request to the last answer.
        errors: error messages and their counts.
    """

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
