"""A server, as commands call it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar

import httpx
import typer
from pydantic import BaseModel, ValidationError

from maskery.errors import UserError
from maskery.segmentation import digest

Answer = TypeVar("Answer", bound=BaseModel)

#: Options of commands that segment by a server, or without one on this machine.
ServerUrl = Annotated[
    str | None, typer.Option(envvar="AIR_BASE_URL", help="Base URL of a server. Default: segment on this machine.")
]
ApiKey = Annotated[str | None, typer.Option(envvar=["MASKERY_API_KEY", "AIR_API_KEY"], help="API key for the server.")]

_HOW_TO_GIVE_A_KEY = "give the key with --key, MASKERY_API_KEY or AIR_API_KEY"

# A busy server is asked again so often, and after so many seconds at most.
_RETRIES = 7
_LONGEST_DELAY = 15.0

# A proxy must not see requests to this machine, nor their key.
_WITHOUT_PROXY = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}


class ServerUnavailableError(UserError):
    """The server does not answer, or refuses the key: so it will for every image."""


class Connection:
    """Posts images to a server. Thread-safe.

    Args:
        client: with the API key.
        url: base URL of the server.
        timeout: seconds per request, which the server is told.
    """

    def __init__(self, client: httpx.Client, url: str, timeout: float) -> None:
        self._client = client
        self._url = url
        self._timeout = timeout

    def post(self, path: str, image: bytes, request: str, answer: type[Answer]) -> Answer:
        """Post an image file and the other fields in JSON.

        Raises:
            ServerUnavailableError: the server cannot be reached, or it refuses the key.
            UserError: the server refuses the image or the prompt, or takes too long, or it is not a segmentation
                server.
        """
        # A proxy sends requests for the same image to the server that knows it.
        headers = {"x-request-timeout": str(self._timeout), "x-session-id": digest(image)[:32]}
        return self._send(
            "POST", path, answer, data={"request": request}, files={"image": ("image", image)}, headers=headers
        )

    def get(self, path: str, answer: type[Answer], session_id: str | None = None) -> Answer:
        """Errors are those of `post`.

        Args:
            session_id: by which a proxy chooses the server, where an image is concerned.
        """
        return self._send("GET", path, answer, headers={"x-session-id": session_id} if session_id else None)

    def _send(self, method: str, path: str, answer: type[Answer], **content: Any) -> Answer:
        response = self._request(method, path, **content)
        for _ in range(_RETRIES):
            delay = _delay(response)
            if delay is None:
                break
            time.sleep(delay)
            response = self._request(method, path, **content)
        return _read(response, self._url, answer)

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        url = self._url
        try:
            return self._client.request(method, f"{url.rstrip('/')}{path}", **content)
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            raise UserError(f"no answer from {url} within {self._timeout:g} seconds: raise --timeout.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise ServerUnavailableError(f"no answer from {url}: {reason}{_scheme_advice(url, error)}.") from None


def _delay(response: httpx.Response) -> float | None:
    """Seconds after which a busy server wants the request again; None if it is not busy, or for longer."""
    if response.status_code not in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        return None
    try:
        delay = float(response.headers.get("retry-after", "1"))
    except ValueError:
        return None
    return delay if 0 <= delay <= _LONGEST_DELAY else None


@contextmanager
def connect(url: str, key: str | None, timeout: float) -> Iterator[Connection]:
    """A connection to a server; arguments as of `Connection`.

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
    with client:
        yield Connection(client, url, timeout)


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


def _read(response: httpx.Response, url: str, answer: type[Answer]) -> Answer:
    try:
        if response.is_success:
            return answer.model_validate_json(response.content)
        message = str(response.json()["error"]["message"])
    except (ValidationError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{url} is not a segmentation server: its answer has status {response.status_code}, but neither what was "
            "asked for nor an error message."
        ) from None
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise ServerUnavailableError(f"{message} Here, {_HOW_TO_GIVE_A_KEY}.")
    raise UserError(message)
