"""The exceptions that this package raises.

::

    AirError
    ├── ConfigurationError              a client or login that cannot work: no key, a bad base_url or proxy
    │   └── MissingExtraError           needs numpy and Pillow, which are not installed
    ├── InputError (ValueError)         an argument that cannot be sent; nothing was sent
    ├── MaskError (ValueError)          a mask that cannot be converted to an array or image
    ├── APIConnectionError (ConnectionError)  no answer: unknown host, refused, broken off
    │   └── APITimeoutError (TimeoutError)    no complete answer within ``timeout``
    ├── BadResponseError                a 2xx answer that does not follow the API
    └── APIStatusError                  any other status
        ├── BadRequestError             400  malformed JSON or base64
        ├── AuthenticationError         401  no API key, or an invalid one
        ├── PermissionDeniedError       403  the key lacks the scope
        ├── NotFoundError               404  unknown model
        │   └── ImageNotPreparedError   404  a prepared image has expired, was deleted or never existed
        ├── PayloadTooLargeError        413  too many bytes or pixels
        ├── UnsupportedMediaTypeError   415  not an image format that the server reads
        ├── UnprocessableEntityError    422  an invalid prompt; ``param`` is the path to it
        ├── RateLimitError              429  see ``retry_after``
        └── InternalServerError         500 and above
            ├── ServiceUnavailableError 503  busy or starting; see ``retry_after``
            └── GatewayTimeoutError     504  the server's own deadline

No message contains the API key. All exceptions can be pickled.
"""

from typing import Any


class AirError(Exception):
    """Base class of the exceptions that this package raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their positional arguments by default; ours have keyword-only ones.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[AirError], args: tuple[Any, ...], attributes: dict[str, Any]) -> AirError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(AirError):
    """A client or a login is configured in a way that cannot work, or the client has been closed."""


class MissingExtraError(ConfigurationError):
    """numpy and Pillow are needed: ``pip install "maskery-sdk[images]"``."""


class InputError(AirError, ValueError):
    """An argument cannot be sent. Nothing was sent."""


class MaskError(AirError, ValueError):
    """A mask in an answer cannot be converted to an array or image."""


class APIConnectionError(AirError, ConnectionError):
    """The server did not answer, and retries did not help."""


class APITimeoutError(APIConnectionError, TimeoutError):
    """The answer was not complete within ``timeout`` seconds, including retries and waits."""


class BadResponseError(AirError):
    """The status is 2xx, but the body does not follow the API.

    Attributes:
        status_code: the HTTP status.
        request_id: the server's ``x-request-id``, also in its log; None if it sent none.
        body: the body: parsed if it is JSON, otherwise text.
    """

    def __init__(self, message: str, *, status_code: int, request_id: str | None, body: object) -> None:
        super().__init__(message + _request_suffix(request_id))
        self.message = message
        self.status_code = status_code
        self.request_id = request_id
        self.body = body


class APIStatusError(AirError):
    """The server answered with an error status.

    Attributes:
        status_code: the HTTP status.
        message: the server's message.
        type: the category of the error, such as ``"invalid_request_error"``; None if not given.
        param: path of the invalid field, such as ``"segment_prompt[0][1]"``; None if not given.
        code: a code for programs, such as ``"model_not_found"``; None if not given.
        request_id: the server's ``x-request-id``, also in its log; None if it sent none.
        body: the body: parsed if it is JSON, otherwise text.
        retry_after: seconds to wait before the next request; None if the server did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        type: str | None = None,  # noqa: A002 - the wire's own name
        param: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
        body: object = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status_code}: {message}{_request_suffix(request_id)}")
        self.message = message
        self.status_code = status_code
        self.type = type
        self.param = param
        self.code = code
        self.request_id = request_id
        self.body = body
        self.retry_after = retry_after


def _request_suffix(request_id: str | None) -> str:
    return f" [request {request_id}]" if request_id else ""


class BadRequestError(APIStatusError):
    """400: the body or its base64 is malformed."""


class AuthenticationError(APIStatusError):
    """401: no API key, or an invalid one."""


class PermissionDeniedError(APIStatusError):
    """403: the API key lacks the scope."""


class NotFoundError(APIStatusError):
    """404: unknown model; the message lists the installed ones."""


class ImageNotPreparedError(NotFoundError):
    """404: no prepared image has this id for this account and model: it has expired, was deleted or never existed."""


class PayloadTooLargeError(APIStatusError):
    """413: too many bytes or pixels."""


class UnsupportedMediaTypeError(APIStatusError):
    """415: not an image format that the server reads."""


class UnprocessableEntityError(APIStatusError):
    """422: a prompt or option is invalid; ``param`` is the path to it."""


class RateLimitError(APIStatusError):
    """429: too many requests; wait ``retry_after`` seconds."""


class InternalServerError(APIStatusError):
    """500 and above: the server, or a proxy in front of it, failed."""


class ServiceUnavailableError(InternalServerError):
    """503: busy or starting; wait ``retry_after`` seconds."""


class GatewayTimeoutError(InternalServerError):
    """504: the server reached its own deadline."""


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: PayloadTooLargeError,
    415: UnsupportedMediaTypeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    503: ServiceUnavailableError,
    504: GatewayTimeoutError,
}


def status_error_class(status_code: int, code: str | None) -> type[APIStatusError]:
    """The exception class for an HTTP status and the ``code`` of the error in the body."""
    if status_code == 404 and code == "image_not_prepared":
        return ImageNotPreparedError
    return _BY_STATUS.get(status_code, InternalServerError if status_code >= 500 else APIStatusError)
