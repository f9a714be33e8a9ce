"""``client.models``: the models that the server offers."""

from collections.abc import Mapping
from typing import Any

from ._encoding import json_body
from ._guidance import SegmentationOnly
from ._transport import AsyncTransport, Call, Transport, dispatch
from .types.models import ModelList


class Models(SegmentationOnly):
    """Lists models; methods block."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, timeout: float | None = None, extra_headers: Mapping[str, str] | None = None, **kwargs: Any
    ) -> ModelList:
        """List the models that this key may use.

        Args:
            timeout: seconds for the whole call, with retries. None: the client's.
            extra_headers: override the client's headers.
            **kwargs: sent as keys of a JSON body, as the reference SDK sends them.

        Raises:
            AirError: as for `Images.segment`.
        """
        return self._transport.run(dispatch(_listing(extra_headers, kwargs)), timeout)


class AsyncModels(SegmentationOnly):
    """Lists models from asyncio: the same method as `Models`, awaited."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the API's own argument
        extra_headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ModelList:
        """List the models that this key may use. The same arguments and errors as `Models.list`."""
        return await self._transport.run(dispatch(_listing(extra_headers, kwargs)), timeout)


def _listing(extra_headers: Mapping[str, str] | None, parameters: dict[str, Any]) -> Call[ModelList]:
    body = (lambda: json_body(parameters)) if parameters else None
    return Call("GET", "/v1/models", ModelList, body, extra_headers)
