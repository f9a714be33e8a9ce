"""Why a request that is right in itself gets no answer.

EngineError
├── Busy                too many requests are waiting; come back after `retry_after` seconds
│   └── EncoderLost     the process that encodes ended in the middle of this image; it is started again
├── DeadlineExceeded    its time was up before its answer was there
├── NotPrepared         there is no such prepared image, or no longer
└── CannotPrepare       the cache has no room for even one image
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

    def __reduce__(self) -> tuple[type["Busy"], tuple[str, int]]:
        """For the way from the encoder's process."""
        return type(self), (str(self), self.retry_after)


class EncoderLost(Busy):
    """The process that encodes ended, or hung, in the middle of this image."""


class DeadlineExceeded(EngineError):  # noqa: N818
    """The request's time was up before its answer was there."""


class NotPrepared(EngineError):  # noqa: N818
    """The caller has no prepared image of this id, or no longer."""


class CannotPrepare(EngineError):  # noqa: N818
    """The cache has no room for even one image, as it was set up."""
