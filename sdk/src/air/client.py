"""The clients: one for blocking code, one for asyncio."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from ._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, Config, Upload
from ._guidance import SegmentationOnly
from ._transport import AsyncTransport, Call, Transport
from .images import AsyncImages, Images
from .models import AsyncModels, Models
from .types.models import Account

_VALIDATE = Call("POST", "/authentication/validate", Account)


class AIRefinery(SegmentationOnly):
    """A client for blocking code. It may be shared between threads, and used before and after a fork.

    It can be pickled and deep-copied: the new client opens connections of its own. A pickle contains the API key.

    Args:
        api_key: None: the environment's ``AIR_API_KEY``.
        base_url: the server's address. None: the environment's ``AIR_BASE_URL``, else the local server,
            ``http://127.0.0.1:8484``. An ending of ``/``, ``/v1`` or ``/inference`` is ignored.
        default_headers: sent with every request; override the client's own.
        timeout: seconds for one call, with retries, up to the last byte of the answer.
        max_retries: how often to retry after a broken connection, 429, 502 or 503.
        http_client: your own `httpx.Client`, for certificates, a proxy or a transport. You close it, and it must not be
            used across a fork: parent and child would read each other's answers. Its timeouts are not used, and it
            does not follow redirects, since the key would follow them. Without it, the environment's proxy is used
            (``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``), but never for a server on this machine.
        upload: "multipart" sends the image file as it is, a quarter fewer bytes than its base64 in "json".

    Attributes:
        images: `Images`.
        models: `Models`.

    Raises:
        ConfigurationError: the key is missing, or an argument or the environment's proxy cannot work.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        default_headers: Mapping[str, str] | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.Client | None = None,
        upload: Upload = "json",
    ) -> None:
        config = Config.resolve(api_key, base_url, default_headers, timeout, max_retries, upload, http_client)
        self._transport = Transport(config, http_client)
        self.images = Images(self._transport)
        self.models = Models(self._transport)

    @property
    def base_url(self) -> str:
        """The server's address, without a slash at its end."""
        return self._transport.config.base_url

    def validate(self) -> Account:
        """The account that the key belongs to.

        Raises:
            AuthenticationError: the server does not accept the key.
            AirError: as for `Images.segment`.
        """
        return self._transport.send(_VALIDATE)

    def close(self) -> None:
        """Close the connections. Later calls raise ConfigurationError."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"


class AsyncAIRefinery(SegmentationOnly):
    """A client for asyncio. It may be shared between tasks and event loops, and used before and after a fork.

    The same arguments as `AIRefinery`; ``http_client`` is an `httpx.AsyncClient`, which works in one event loop only.

    Attributes:
        images: `AsyncImages`.
        models: `AsyncModels`.

    Raises:
        ConfigurationError: the key is missing, or an argument or the environment's proxy cannot work.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        default_headers: Mapping[str, str] | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.AsyncClient | None = None,
        upload: Upload = "json",
    ) -> None:
        config = Config.resolve(api_key, base_url, default_headers, timeout, max_retries, upload, http_client)
        self._transport = AsyncTransport(config, http_client)
        self.images = AsyncImages(self._transport)
        self.models = AsyncModels(self._transport)

    @property
    def base_url(self) -> str:
        """The server's address, without a slash at its end."""
        return self._transport.config.base_url

    async def validate(self) -> Account:
        """The account that the key belongs to. Raises as `AIRefinery.validate` does."""
        return await self._transport.send(_VALIDATE)

    async def close(self) -> None:
        """Close the connections, those of other event loops too. Later calls raise ConfigurationError."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"
