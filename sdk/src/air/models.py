"""``client.models``: what the server offers."""

from ._transport import AsyncTransport, Call, Transport
from .types import ModelList

_LIST = Call("GET", "/v1/models", ModelList)


class Models:
    """Lists models, blocking the caller."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> ModelList:
        """The models that this key may use. Raises what `Images.segment` raises after sending."""
        return self._transport.send(_LIST)


class AsyncModels:
    """Lists models from asyncio: `Models`' twin."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self) -> ModelList:
        """The models that this key may use. Raises what `Images.segment` raises after sending."""
        return await self._transport.send(_LIST)
