"""The settings of a client: checked arguments, completed from the environment."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from ._encoding import plain
from ._proxy import Proxy, environment_proxy
from .errors import ConfigurationError, InputError

__version__ = "0.2.0"

DEFAULT_BASE_URL = "http://127.0.0.1:8484"
DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_RETRIES = 2
LONGEST_TIMEOUT = 86_400.0

Upload = Literal["json", "multipart"]


@dataclass(frozen=True)
class Config:
    """The settings of a client.

    Attributes:
        base_url: ``scheme://host[:port][/path]``, without a slash at its end.
        headers: sent with every request, among them the key, which httpx hides from their repr.
        timeout: seconds for one call, retries included.
        max_retries: attempts after the first one.
        proxy: the environment's, unless the caller's own HTTP client decides.
    """

    base_url: str
    headers: httpx.Headers = field(repr=False)
    timeout: float
    max_retries: int
    upload: Upload
    proxy: Proxy | None = None

    @property
    def server(self) -> str:
        """The server and the proxy before it, for messages."""
        return f"{self.base_url} through {self.proxy}" if self.proxy else self.base_url

    @classmethod
    def resolve(
        cls,
        api_key: str | None,
        base_url: str | None,
        default_headers: Mapping[str, str] | None,
        timeout: float,
        max_retries: int,
        upload: Upload,
        http_client: httpx.Client | httpx.AsyncClient | None,
    ) -> "Config":
        """Raises ConfigurationError for settings that cannot work."""
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
            timeout = checked_timeout(timeout)
            max_retries = checked_count(max_retries, "max_retries", least=0)
        except InputError as error:
            raise ConfigurationError(str(error)) from None
        address = resolve_base_url(base_url)
        proxy = None if http_client is not None else environment_proxy(address)
        return cls(address, headers, timeout, max_retries, upload, proxy)

    def headers_with(self, extra_headers: Mapping[str, str] | None) -> httpx.Headers:
        """The headers of one call. Raises InputError for headers that HTTP cannot carry."""
        headers = self.headers.copy()
        headers.update(checked_headers(extra_headers))
        return headers


def resolve_base_url(base_url: str | None) -> str:
    """The address of the server: the argument, else the environment's ``AIR_BASE_URL``, else the local server.

    An ending of ``/``, ``/v1``, ``/inference`` or ``/inference/v1`` is cut off: people paste such addresses.

    Raises:
        ConfigurationError: it is not an http(s) address, or contains more than an address.
    """
    if base_url is not None and not isinstance(base_url, str):
        raise ConfigurationError(f"base_url must be a str, got {type(base_url).__name__}")
    text = (base_url or "").strip() or os.environ.get("AIR_BASE_URL", "").strip() or DEFAULT_BASE_URL
    try:
        url = httpx.URL(text)
        # Names that no host can have fail with errors of many kinds when they are looked up.
        url.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigurationError(f"base_url is not an address: {error}") from None
    if url.userinfo:
        raise ConfigurationError("base_url must not contain a user name or password; pass api_key instead")
    if url.scheme not in ("http", "https") or not url.host or " " in text or not 0 < (url.port or 80) < 65536:
        raise ConfigurationError(f"base_url must look like http://host:port or https://host, got {text!r}")
    if url.query or url.fragment:
        raise ConfigurationError(f"base_url must not contain '?' or '#', got {text!r}")
    path = url.path.rstrip("/")
    while path.endswith(("/v1", "/inference")):
        path = path.rpartition("/")[0].rstrip("/")
    return str(url.copy_with(path=path or "/")).rstrip("/")


def checked_api_key(api_key: object, remedy: str) -> str:
    """The key without surrounding whitespace. No message contains the key.

    Raises:
        ConfigurationError: it is missing, or cannot be sent in a header.
    """
    if api_key is not None and not isinstance(api_key, str):
        raise ConfigurationError(f"api_key must be a str, got {type(api_key).__name__}")
    key = (api_key or "").strip()
    if not key:
        raise ConfigurationError(f"no API key: {remedy}")
    if key == "None":
        raise ConfigurationError("the API key is the text 'None': the environment variable it was read from is not set")
    if not _is_printable_ascii(key) or " " in key:
        raise ConfigurationError("the API key contains whitespace or characters outside ASCII; was it pasted whole?")
    return key


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The headers unchanged. Values may be secrets, so no message contains one.

    Raises:
        InputError: a name or value that HTTP cannot carry.
    """
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InputError(f"header {name!r}: name and value must be str")
        if not name or not _is_printable_ascii(name + value) or set(name) & set(" :"):
            raise InputError(f"header {name!r}: HTTP carries printable ASCII only")
    return dict(headers or {})


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()


def checked_timeout(timeout: Any) -> float:
    """``timeout`` as a float. Raises InputError unless it is a number above 0, and at most `LONGEST_TIMEOUT`."""
    seconds = plain(timeout)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_TIMEOUT:
        raise InputError(f"timeout must be a positive number of seconds, at most a day, got {timeout!r}")
    return float(seconds)


def checked_count(count: Any, name: str, least: int) -> int:
    """``count`` as an int. Raises InputError unless it is an integer of ``least`` or more."""
    number = plain(count)
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise InputError(f"{name} must be an integer of at least {least}, got {count!r}")
    return number
