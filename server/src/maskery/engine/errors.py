"""Why a request that is right in itself gets no answer.

EngineError
├── Busy                too many requests are waiting; come back after `retry_after` seconds
└── DeadlineExceeded    its time was up before its answer was there
"""


class EngineError(Exception):
    """Base of every failure that has nothing to do with what was asked."""


class Busy(EngineError):  # noqa: N818
    """Too many requests are waiting already.

    Attributes:
        retry_after: seconds after which a place is expected to be free.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(EngineError):  # noqa: N818
    """The request's time was up before its answer was there."""
