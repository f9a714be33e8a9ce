"""Everything this package raises on purpose.

::

    AirError
    ├── ConfigurationError              a client or login that cannot work: no key, a bad base_url
    │   └── MissingExtraError           needs numpy and Pillow, which are not installed
    ├── InputError (ValueError)         an argument that cannot be sent, found before sending
    ├── MaskError (ValueError)          an answered mask that cannot be turned into what was asked
    ├── APIConnectionError              no answer: unknown host, refused, cut off
    ├── APITimeoutError                 no whole answer within ``timeout``
    ├── BadResponseError                an answer of 2xx that is not what the API promises
    └── APIStatusError                  any other status
        ├── BadRequestError             400  malformed JSON or base64
        ├── AuthenticationError         401  no key, or not a valid one
        ├── PermissionDeniedError       403  the key lacks the right
        ├── NotFoundError               404  unknown model
        │   └── ImageNotPreparedError   404  a prepared picture is gone, or was never there
        ├── PayloadTooLargeError        413  too many bytes or pixels
        ├── UnsupportedMediaTypeError   415  not an image the server reads
        ├── UnprocessableEntityError    422  a wrong prompt; ``param`` is the path to it
        ├── RateLimitError              429  see ``retry_after``
        ├── InternalServerError         500
        ├── ServiceUnavailableError     503  busy or starting; see ``retry_after``
        └── GatewayTimeoutError         504  the server's own deadline

No message holds an API key. All of them can be pickled.
"""

from typing import Any


class AirError(Exception):
    """The root: whatever this package raises on purpose is one of these."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their positional arguments by default; ours have keyword-only ones.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[AirError], args: tuple[Any, ...], attributes: dict[str, Any]) -> AirError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(AirError):
    """A client or a login was set up so that it cannot work."""


class MissingExtraError(ConfigurationError):
    """Something was asked that needs numpy and Pillow: ``pip install "maskery-sdk[images]"``."""


class InputError(AirError, ValueError):
    """An argument cannot be sent. Nothing was sent."""


class MaskError(AirError, ValueError):
    """An answered mask cannot be turned into the array or picture that was asked for."""


class APIConnectionError(AirError):
    """The server gave no answer, and retries did not help."""


class APITimeoutError(AirError):
    """``timeout`` seconds passed, with retries and waiting, before the answer was complete."""


class BadResponseError(AirError):
    """The server reported success, but its body is not what the API promises.

    Attributes:
        status_code: the HTTP status.
        request_id: the server's ``x-request-id``, which its log has too; None if it sent none.
        body: the body, as parsed JSON where it is JSON, else as text.
    """

    def __init__(self, message: str, *, status_code: int, request_id: str | None, body: object) -> None:
        super().__init__(message + _in_request(request_id))
        self.message = message
        self.status_code = status_code
        self.request_id = request_id
        self.body = body


class APIStatusError(AirError):
    """The server refused or failed.

    Attributes:
        status_code: the HTTP status.
        message: the server's own sentence.
        type: the family of the error, such as ``"invalid_request_error"``; None if not told.
        param: path of the field that is wrong, such as ``"segment_prompt[0][1]"``; None if not told.
        code: a name for programs, such as ``"model_not_found"``; None if not told.
        request_id: the server's ``x-request-id``, which its log has too; None if it sent none.
        body: the body, as parsed JSON where it is JSON, else as text.
        retry_after: seconds to wait before asking again; None if the server did not say.
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
        super().__init__(f"{status_code}: {message}{_in_request(request_id)}")
        self.message = message
        self.status_code = status_code
        self.type = type
        self.param = param
        self.code = code
        self.request_id = request_id
        self.body = body
        self.retry_after = retry_after


def _in_request(request_id: str | None) -> str:
    return f" [request {request_id}]" if request_id else ""


class BadRequestError(APIStatusError):
    """400: the body or its base64 is malformed."""


class AuthenticationError(APIStatusError):
    """401: no API key, or not a valid one."""


class PermissionDeniedError(APIStatusError):
    """403: the API key lacks the right."""


class NotFoundError(APIStatusError):
    """404: unknown model; the message lists those installed."""


class ImageNotPreparedError(NotFoundError):
    """404: no prepared picture has this id, for this account and model: it expired, was dropped or never was there."""


class PayloadTooLargeError(APIStatusError):
    """413: too many bytes or pixels."""


class UnsupportedMediaTypeError(APIStatusError):
    """415: not an image the server reads."""


class UnprocessableEntityError(APIStatusError):
    """422: a prompt or option is wrong; ``param`` is the path to it."""


class RateLimitError(APIStatusError):
    """429: too many requests; ``retry_after`` says when to come back."""


class InternalServerError(APIStatusError):
    """500: the server failed."""


class ServiceUnavailableError(APIStatusError):
    """503: busy or starting; ``retry_after`` says when to come back."""


class GatewayTimeoutError(APIStatusError):
    """504: the server gave up at its own deadline."""


BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: PayloadTooLargeError,
    415: UnsupportedMediaTypeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    500: InternalServerError,
    503: ServiceUnavailableError,
    504: GatewayTimeoutError,
}

BY_STATUS_AND_CODE: dict[tuple[int, str | None], type[APIStatusError]] = {
    (404, "image_not_prepared"): ImageNotPreparedError,
}
