"""Errors that are not caused by the image or the prompt.

EngineError
├── Busy                a queue or the memory for requests is full; retry after `retry_after` seconds
│   └── EncoderLost     the encoder process ended while it encoded this image
├── DeadlineExceeded    the time limit of the request has passed
├── NotPrepared         the prepared image does not exist or has expired
└── CannotPrepare       the embedding does not fit into the cache
"""


class EngineError(Exception):
    """Base class of the engine's errors."""


class Busy(EngineError):  # noqa: N818
    """A queue or the memory for requests is full.

    Attributes:
        retry_after: seconds after which a retry is expected to succeed.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type["Busy"], tuple[str, int]]:
        """Pickle both arguments: the encoder process sends this error to its parent."""
        return type(self), (str(self), self.retry_after)


class EncoderLost(Busy):
    """The encoder process ended, or was ended after a time-out, while it encoded this image."""


class DeadlineExceeded(EngineError):  # noqa: N818
    """The time limit of the request has passed."""


class NotPrepared(EngineError):  # noqa: N818
    """The account has no prepared image with this id, or it has expired."""


class CannotPrepare(EngineError):  # noqa: N818
    """The embedding is larger than the whole cache."""
