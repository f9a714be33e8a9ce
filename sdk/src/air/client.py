"""The clients: one for blocking code, one for asyncio."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from ._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, Config, Upload
from ._transport import AsyncTransport, Call, Transport
from .images import AsyncImages, Images
from .models import AsyncModels, Models
from .types import Account

_VALIDATE = Call("POST", "/authentication/validate", Account)


class AIRefinery:
    """A client for blocking code. It may be shared between threads.

    Args:
        api_key: else the environment's ``AIR_API_KEY``.
        base_url: the server's address; else the environment's ``AIR_BASE_URL``, else the local server's,
            ``http://127.0.0.1:8484``. An ending of ``/``, ``/v1`` or ``/inference`` makes no difference.
        default_headers: sent with every request; override the client's own.
        timeout: seconds for one call in all: retries, waiting, and the answer's last byte.
        max_retries: how often to try again after a broken connection, 429, 502 or 503.
        http_client: your own `httpx.Client`, for a proxy, certificates or a transport. Yours to close. Its
            timeouts are not used, nor does it follow redirects: the key would follow them.
        upload: "multipart" sends the picture's file as it is, a quarter less than "json" with its base64.

    Attributes:
        images: `Images`.
        models: `Models`.

    Raises:
        ConfigurationError: there is no key, or an argument cannot work.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        default_headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.Client | None = None,
        upload: Upload = "json",
    ) -> None:
        config = Config.resolve(api_key, base_url, default_headers, timeout, max_retries, upload)
        self._transport = Transport(config, http_client)
        self.images = Images(self._transport)
        self.models = Models(self._transport)

    @property
    def base_url(self) -> str:
        """The server's address, without a slash at its end."""
        return self._transport.config.base_url

    def validate(self) -> Account:
        """Whose key this is.

        Raises:
            AuthenticationError: the server does not know the key.
            AirError: as for `Images.segment`.
        """
        return self._transport.send(_VALIDATE)

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"


class AsyncAIRefinery:
    """A client for asyncio: `AIRefinery`'s twin. The same arguments; ``http_client`` is an `httpx.AsyncClient`.

    Attributes:
        images: `AsyncImages`.
        models: `AsyncModels`.

    Raises:
        ConfigurationError: there is no key, or an argument cannot work.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        default_headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.AsyncClient | None = None,
        upload: Upload = "json",
    ) -> None:
        config = Config.resolve(api_key, base_url, default_headers, timeout, max_retries, upload)
        self._transport = AsyncTransport(config, http_client)
        self.images = AsyncImages(self._transport)
        self.models = AsyncModels(self._transport)

    @property
    def base_url(self) -> str:
        """The server's address, without a slash at its end."""
        return self._transport.config.base_url

    async def validate(self) -> Account:
        """Whose key this is.

        Raises:
            AuthenticationError: the server does not know the key.
            AirError: as for `AsyncImages.segment`.
        """
        return await self._transport.send(_VALIDATE)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"
