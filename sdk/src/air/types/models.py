"""The answers of ``client.models`` and ``client.validate``."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from pydantic import Field

from .base import Answer, Record


class ModelPermission(Record):
    """What a key may do with a model, in the form that clients of OpenAI's API expect.

    Attributes:
        id: the id of this permission.
        created: Unix time in seconds.
        organization: the account that it applies to.
        group: None.
    """

    id: str
    object: str = "model_permission"
    created: int | None = None
    allow_create_engine: bool = False
    allow_sampling: bool = False
    allow_logprobs: bool = False
    allow_search_indices: bool = False
    allow_view: bool = False
    allow_fine_tuning: bool = False
    organization: str | None = None
    group: str | None = None
    is_blocking: bool = False


class Model(Record):
    """A model that the server offers.

    Attributes:
        id: the name to pass as ``model``.
        created: Unix time in seconds.
        owned_by: the organization that provides it.
        root: the name of the model that it is derived from.
        parent: its parent model, or None.
        permission: what the key may do with it.
    """

    id: str
    object: str = "model"
    created: int | None = None
    owned_by: str | None = None
    root: str | None = None
    parent: str | None = None
    permission: list[ModelPermission] = Field(default_factory=list)


class ModelList(Answer):
    """The answer of ``models.list``. ``for`` and ``async for`` iterate over its models; ``[0]`` is the first.

    Attributes:
        data: the models.
        first_id: id of the first model, if the server sends it.
        last_id: id of the last model, if the server sends it.
        has_more: whether the server has more models than it listed.
    """

    object: str = "list"
    data: list[Model]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool | None = None

    def __getitem__(self, key: Any) -> Any:
        return self.data[key] if isinstance(key, int | slice) else super().__getitem__(key)

    def __iter__(self) -> Iterator[Model]:  # type: ignore[override]  # its models, not its keys
        return iter(self.data)

    async def __aiter__(self) -> AsyncIterator[Model]:
        for model in self.data:
            yield model

    def __len__(self) -> int:
        return len(self.data)


class Account(Answer):
    """The account that an API key belongs to.

    Attributes:
        organization_id: the account's id on the server.
    """

    organization_id: str = Field(min_length=1)
