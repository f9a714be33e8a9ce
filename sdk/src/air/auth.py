"""``login``: an account and its key, turned into the arguments of a client."""

from typing import TypedDict

from ._config import checked_api_key, resolve_base_url
from .client import AIRefinery, AsyncAIRefinery
from .types.models import Account


class ClientArguments(TypedDict):
    """Keyword arguments of `AIRefinery` and `AsyncAIRefinery`."""

    base_url: str
    api_key: str
    default_headers: dict[str, str]


class Authenticator:
    """An account and its key. Its repr does not show the key.

    Args:
        account: sent as the header ``airefinery_account``, unless it is empty.
        api_key: the account's key.
        base_url: the server's address where `openai` or `validate` are given none.

    Raises:
        ConfigurationError: the key is empty or damaged.
    """

    def __init__(self, account: str, api_key: str, base_url: str | None = None) -> None:
        self.account = account
        self._api_key = checked_api_key(api_key, "pass login(account=…, api_key=…)")
        self._base_url = base_url

    def openai(self, base_url: str | None = None) -> ClientArguments:
        """The arguments of a client: ``AIRefinery(**auth.openai(base_url="https://..."))``.

        Args:
            base_url: the server's address. Empty: that of `login`, else the environment's ``AIR_BASE_URL``, else the
                local server.

        Raises:
            ConfigurationError: ``base_url`` is not an http(s) address.
        """
        return {
            "base_url": resolve_base_url(base_url or self._base_url),
            "api_key": self._api_key,
            "default_headers": {"airefinery_account": self.account} if self.account else {},
        }

    def validate(self, base_url: str | None = None) -> Account:
        """Ask the server for the account that the key belongs to.

        Args:
            base_url: as for `openai`: the key is checked where it will be used.

        Raises:
            AuthenticationError: the server does not accept the key.
            AirError: as for `AIRefinery.validate`.
        """
        with AIRefinery(**self.openai(base_url)) as client:
            return client.validate()

    async def validate_async(self, base_url: str | None = None) -> Account:
        """`validate` for asyncio."""
        async with AsyncAIRefinery(**self.openai(base_url)) as client:
            return await client.validate()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(account={self.account!r})"


def login(account: str, api_key: str, base_url: str | None = None, oauth_server: str | None = None) -> Authenticator:
    """An account and its key, ready to make clients. Sends no request: see `Authenticator.validate`.

    Args:
        account: sent as the header ``airefinery_account``; empty if the key alone identifies the account.
        api_key: the account's key.
        base_url: the server's address, as in releases 1.13 to 1.15 of the reference SDK.
        oauth_server: the server's address, as in its releases up to 1.12; used if there is no ``base_url``.

    Raises:
        ConfigurationError: the key is empty or damaged.
    """
    return Authenticator(account, api_key, base_url or oauth_server)
