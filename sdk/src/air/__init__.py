"""Client for image segmentation servers: points in, one categorical mask out.

::

    from pathlib import Path

    from air import AIRefinery

    client = AIRefinery()  # AIR_API_KEY and AIR_BASE_URL, or the local server
    response = client.images.segment(Path("car.png"), [[[450, 600]]], "maskery/nano")
    response.data[0].save("mask.png")
"""

from ._batch import SegmentResult
from ._prepared import PreparedImage
from ._version import __version__
from .auth import Authenticator, login
from .client import AIRefinery, AsyncAIRefinery
from .errors import (
    AirError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BadResponseError,
    ConfigurationError,
    GatewayTimeoutError,
    ImageNotPreparedError,
    InputError,
    InternalServerError,
    MaskError,
    MissingExtraError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    UnprocessableEntityError,
    UnsupportedMediaTypeError,
)
from .types import RLE, Account, Mask, Model, ModelList, Segment, SegmentationResponse, Usage

__all__ = [
    "RLE",
    "AIRefinery",
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "Account",
    "AirError",
    "AsyncAIRefinery",
    "AuthenticationError",
    "Authenticator",
    "BadRequestError",
    "BadResponseError",
    "ConfigurationError",
    "GatewayTimeoutError",
    "ImageNotPreparedError",
    "InputError",
    "InternalServerError",
    "Mask",
    "MaskError",
    "MissingExtraError",
    "Model",
    "ModelList",
    "NotFoundError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PreparedImage",
    "RateLimitError",
    "Segment",
    "SegmentResult",
    "SegmentationResponse",
    "ServiceUnavailableError",
    "UnprocessableEntityError",
    "UnsupportedMediaTypeError",
    "Usage",
    "__version__",
    "login",
]
