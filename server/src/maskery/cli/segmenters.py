"""Segment an image in this process or by a server."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import httpx
from pydantic import ValidationError

from maskery.api.model_settings import image_limits, make_registry, prompt_limits
from maskery.api.schemas.rendering import to_response
from maskery.api.schemas.segmentation import ResponseFormat, SegmentationResponse
from maskery.engine import Prompt
from maskery.errors import UserError
from maskery.segmentation import Exif, ImageFile, Options, digest, pillow, segment
from maskery.settings import Settings

_HOW_TO_GIVE_A_KEY = "give the key with --key, MASKERY_API_KEY or AIR_API_KEY"

# A proxy must not see requests to this machine, nor their key.
_WITHOUT_PROXY = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}


@dataclass(frozen=True)
class Request:
    """A request without its image."""

    model: str
    prompt: Prompt
    options: Options
    exif: Exif
    response_format: ResponseFormat


#: Segments the bytes of an image file. Thread-safe. Raises UserError.
Segmenter = Callable[[bytes], SegmentationResponse]


@contextmanager
def local(request: Request) -> Iterator[Segmenter]:
    """Segment in this process.

    Raises:
        ModelNotInstalled, StoreError: the model is not installed or cannot be loaded.
        UserError: the size of the mask is above the limit.
    """
    pillow.silence()
    settings = Settings.load()
    limits, size = image_limits(settings), request.options.size
    if size and size.pixels > limits.max_pixels:
        raise UserError(f"--size {size} has {size.pixels:,} pixels; the limit is {limits.max_pixels:,} pixels.")
    model = make_registry(settings).get(request.model)

    def segment_locally(image: bytes) -> SegmentationResponse:
        file = ImageFile(image, request.exif, limits)
        objects = request.prompt.check(file.size, prompt_limits(settings))
        return to_response(segment(model, file.decode(), objects, request.options), request.response_format)

    yield segment_locally


@contextmanager
def remote(request: Request, url: str, key: str | None, timeout: float) -> Iterator[Segmenter]:
    """Segment by a server.

    Args:
        url: base URL of the server.
        key: API key.
        timeout: seconds per request.

    Raises:
        UserError: the key holds characters that no key has, or the environment's proxy variables are invalid.
    """
    headers = _authorization(key)
    try:
        # Neither proxies nor certificates matter for plain HTTP to this machine, so wrong variables do not either.
        client = httpx.Client(
            headers=headers, timeout=timeout, mounts=_WITHOUT_PROXY, trust_env=not _is_plain_loopback(url)
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        raise UserError(
            f"the environment's proxy or certificate variables cannot be used (HTTPS_PROXY, ALL_PROXY, NO_PROXY, "
            f"SSL_CERT_FILE): {error}."
        ) from None
    address = f"{url.rstrip('/')}/v1/images/segmentations"
    options = request.options
    fields = {
        "model": request.model,
        **vars(request.prompt),
        "n": options.n,
        "size": str(options.size) if options.size else None,
        "compose": options.compose,
        "merge_iou": options.merge_iou,
        "exif": request.exif,
        "response_format": request.response_format,
    }
    data = {"request": json.dumps(fields)}

    def segment_remotely(image: bytes) -> SegmentationResponse:
        try:
            response = client.post(
                address,
                data=data,
                files={"image": ("image", image)},
                # A proxy sends requests for the same image to the server that knows it.
                headers={"x-request-timeout": str(timeout), "x-session-id": digest(image)[:32]},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise UserError(f"no answer from {url}: {reason}{_scheme_advice(url, error)}.") from None
        return _read(response, url)

    with client:
        yield segment_remotely


def _scheme_advice(url: str, error: Exception) -> str:
    """What to change if the server seems to speak TLS and the URL does not, or the other way round."""
    if url.startswith("http:") and isinstance(error, (httpx.ReadError, httpx.RemoteProtocolError)):
        return "; if it expects TLS, its URL starts with https://"
    # The messages of different releases of OpenSSL about an answer in plain HTTP.
    if any(reason in str(error) for reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")):
        return "; it answers without TLS, so its URL starts with http://"
    return ""


def _is_plain_loopback(url: str) -> bool:
    address = httpx.URL(url)
    try:
        loopback = address.host == "localhost" or ip_address(address.host).is_loopback
    except ValueError:
        return False
    return address.scheme == "http" and loopback


def _authorization(key: str | None) -> dict[str, str]:
    """The header with the key. Messages never contain the key."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(f"the API key holds characters that no key has; {_HOW_TO_GIVE_A_KEY}.")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _read(response: httpx.Response, url: str) -> SegmentationResponse:
    try:
        if response.is_success:
            answer = SegmentationResponse.model_validate_json(response.content)
            if answer.data:
                return answer
        message = str(response.json()["error"]["message"])
    except (ValidationError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{url} is not a segmentation server: its answer has status {response.status_code}, but neither masks nor "
            "an error message."
        ) from None
    if response.status_code == httpx.codes.UNAUTHORIZED:
        message = f"{message} Here, {_HOW_TO_GIVE_A_KEY}."
    raise UserError(message)
