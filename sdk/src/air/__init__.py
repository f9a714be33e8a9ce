"""Client for image segmentation servers: points in, one categorical mask out.

::

    from pathlib import Path

    from air import AIRefinery

    client = AIRefinery()  # AIR_API_KEY and AIR_BASE_URL, or the local server
    response = client.images.segment(Path("car.png"), [[[450, 600]]], "maskery/nano")
    response.data[0].save("mask.png")
"""

from . import _guidance as _guidance  # first: it explains why the others cannot be imported

# isort: split
from ._batch import PrepareResult, SegmentResult
from ._config import __version__
from ._prepared_images import PreparedImage
from ._segment_request import SegmentRequest
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
from .types import RLE, Account, Mask, Model, ModelList, ModelPermission, Segment, SegmentationResponse, Usage

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
    "ModelPermission",
    "NotFoundError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PrepareResult",
    "PreparedImage",
    "RateLimitError",
    "Segment",
    "SegmentRequest",
    "SegmentResult",
    "SegmentationResponse",
    "ServiceUnavailableError",
    "UnprocessableEntityError",
    "UnsupportedMediaTypeError",
    "Usage",
    "__version__",
    "login",
]
