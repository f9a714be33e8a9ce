"""``login``: an account and its key, turned into a client's arguments."""

from typing import TypedDict

from ._config import checked_api_key, resolve_base_url
from .client import AIRefinery, AsyncAIRefinery
from .types import Account


class ClientArguments(TypedDict):
    """Keyword arguments of `AIRefinery` and `AsyncAIRefinery`."""

    base_url: str
    api_key: str
    default_headers: dict[str, str]


class Authenticator:
    """An account and its key. Its repr does not show the key."""

    def __init__(self, account: str, api_key: str) -> None:
        self.account = account
        self._api_key = checked_api_key(api_key, "pass login(account=…, api_key=…)")

    def openai(self, base_url: str = "") -> ClientArguments:
        """The arguments for a client: ``AIRefinery(**auth.openai(base_url="https://..."))``.

        Args:
            base_url: the server's address; empty: the environment's ``AIR_BASE_URL``, else the local server's.

        Raises:
            ConfigurationError: ``base_url`` is not an http(s) address.
        """
        return {
            "base_url": resolve_base_url(base_url),
            "api_key": self._api_key,
            "default_headers": {"airefinery_account": self.account} if self.account else {},
        }

    def validate(self, base_url: str = "") -> Account:
        """Ask the server whose key this is.

        Args:
            base_url: as for `openai`: the key is checked where it will be used.

        Raises:
            AuthenticationError: the server does not know the key.
            AirError: as for `AIRefinery.validate`.
        """
        with AIRefinery(**self.openai(base_url)) as client:
            return client.validate()

    async def validate_async(self, base_url: str = "") -> Account:
        """`validate` for asyncio."""
        async with AsyncAIRefinery(**self.openai(base_url)) as client:
            return await client.validate()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(account={self.account!r})"


def login(account: str, api_key: str) -> Authenticator:
    """An account and its key, ready to make clients. Asks no server: see `Authenticator.validate`.

    Args:
        account: sent as the header ``airefinery_account``; empty where keys alone tell who asks.
        api_key: the account's key.

    Raises:
        ConfigurationError: the key is empty or damaged.
    """
    return Authenticator(account, api_key)
