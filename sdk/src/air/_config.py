"""What a client was told, checked, with the environment filling the gaps."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import httpx

from ._version import __version__
from .errors import ConfigurationError, InputError

DEFAULT_BASE_URL = "http://127.0.0.1:8484"
DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_RETRIES = 2

Upload = Literal["json", "multipart"]


@dataclass(frozen=True)
class Config:
    """A client's settings.

    Attributes:
        base_url: ``scheme://host[:port][/path]``, without a slash at its end.
        headers: sent with every request, the key among them (httpx hides it from its repr).
        timeout: seconds for one call, retries included.
    """

    base_url: str
    headers: httpx.Headers = field(repr=False)
    timeout: float
    max_retries: int
    upload: Upload

    @classmethod
    def resolve(
        cls,
        api_key: str | None,
        base_url: str | None,
        default_headers: Mapping[str, str] | None,
        timeout: float,
        max_retries: int,
        upload: Upload,
    ) -> "Config":
        """Raises ConfigurationError for what cannot work."""
        if not isinstance(max_retries, int) or max_retries < 0:
            raise ConfigurationError(f"max_retries must be 0 or a positive integer, got {max_retries!r}")
        if upload not in ("json", "multipart"):
            raise ConfigurationError(f"upload must be 'json' or 'multipart', got {upload!r}")
        key = checked_api_key(api_key or os.environ.get("AIR_API_KEY"), "pass api_key=… or set AIR_API_KEY")
        headers = httpx.Headers(
            {
                "Authorization": f"Bearer {key}",
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": f"maskery-sdk/{__version__} python/{platform.python_version()}",
                "sdk_version": __version__,
            }
        )
        try:
            headers.update(checked_headers(default_headers))
            checked_timeout(timeout)
        except InputError as error:
            raise ConfigurationError(str(error)) from None
        return cls(resolve_base_url(base_url), headers, timeout, max_retries, upload)

    def headers_with(self, extra_headers: Mapping[str, str] | None) -> httpx.Headers:
        """One call's headers, its own over the client's. Raises InputError for what HTTP cannot carry."""
        headers = self.headers.copy()
        headers.update(checked_headers(extra_headers))
        return headers


def resolve_base_url(base_url: str | None) -> str:
    """The server's address: as given, else the environment's ``AIR_BASE_URL``, else the local server's.

    People paste addresses that end in ``/``, ``/v1``, ``/inference`` or ``/inference/v1``: all are cut off.

    Raises:
        ConfigurationError: it is not an http(s) address, or it holds more than an address.
    """
    text = (base_url or "").strip() or os.environ.get("AIR_BASE_URL", "").strip() or DEFAULT_BASE_URL
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"base_url is not an address: {error}") from None
    if url.userinfo:
        raise ConfigurationError("base_url must not hold a user name or password; pass api_key instead")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(f"base_url must look like http://host:port or https://host, got {text!r}")
    if url.query or url.fragment:
        raise ConfigurationError(f"base_url must not hold '?' or '#', got {text!r}")
    path = url.path.rstrip("/")
    while path.endswith(("/v1", "/inference")):
        path = path.rpartition("/")[0].rstrip("/")
    return str(url.copy_with(path=path or "/")).rstrip("/")


def checked_api_key(api_key: str | None, remedy: str) -> str:
    """The key without blanks around it. No message holds the key.

    Raises:
        ConfigurationError: there is none, or it cannot stand in a header.
    """
    key = (api_key or "").strip()
    if not key:
        raise ConfigurationError(f"no API key: {remedy}")
    if key == "None":
        raise ConfigurationError("the API key is the text 'None': the environment variable it was read from is not set")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigurationError("the API key holds blanks or characters outside ASCII; was it pasted whole?")
    return key


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The headers as they are. Values may be secrets, so no message holds one.

    Raises:
        InputError: a name or value that HTTP cannot carry.
    """
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InputError(f"header {name!r}: name and value must be str")
        if not name or not all(_is_printable_ascii(text) for text in (name, value)) or set(name) & set(" :"):
            raise InputError(f"header {name!r}: HTTP carries printable ASCII only")
    return dict(headers or {})


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()


#: Seconds. Clocks and sockets take no time of any length; nobody waits longer for a mask.
LONGEST_TIMEOUT = 86_400.0


def checked_timeout(seconds: float) -> float:
    """Raises InputError unless ``seconds`` is above 0 and at most `LONGEST_TIMEOUT`."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_TIMEOUT:
        raise InputError(f"timeout must be a positive number of seconds, at most a day, got {seconds!r}")
    return seconds
