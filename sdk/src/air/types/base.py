"""Base classes of the answers: pydantic models that are also mappings."""

import reprlib
from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, PrivateAttr

# A mask in base64 or polygons may be a megabyte, and a notebook shows the repr of every result.
_shorten = reprlib.Repr()
_shorten.maxlevel = 3
_shorten.maxstring = _shorten.maxother = 80


class _Shortened:
    def __init__(self, value: object) -> None:
        self._text = repr(value) if isinstance(value, BaseModel) else _shorten.repr(value)

    def __repr__(self) -> str:
        return self._text


class Record(BaseModel, MutableMapping[str, Any]):
    """A pydantic model that is also a mapping of its fields, unknown ones included.

    Fields can be read and assigned by key. They cannot be deleted.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def _as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields} | (self.__pydantic_extra__ or {})

    def __getitem__(self, key: str) -> Any:
        return self._as_dict()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __delitem__(self, key: str) -> NoReturn:
        raise TypeError(
            f"fields of {type(self).__name__} cannot be deleted; model_dump() returns a dict that allows it"
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a mapping's keys, not pydantic's pairs
        return iter(self._as_dict())

    def __len__(self) -> int:
        return len(self._as_dict())

    def keys(self) -> KeysView[str]:
        return self._as_dict().keys()

    def values(self) -> ValuesView[Any]:
        return self._as_dict().values()

    def items(self) -> ItemsView[str, Any]:
        return self._as_dict().items()

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in self.items():
            if isinstance(value, list) and any(isinstance(item, BaseModel) for item in value):
                yield name, [_Shortened(item) for item in value]
            else:
                yield name, _Shortened(value)

    def __str__(self) -> str:
        return repr(self)


#: The reference SDK's name for `Record`.
CustomBaseModel = Record


class Answer(Record):
    """A complete response body."""

    _request_id: str | None = PrivateAttr(default=None)

    @property
    def request_id(self) -> str | None:
        """The server's ``x-request-id``, also in its log. Not part of the body."""
        return self._request_id


class Nothing(Answer):
    """The answer of calls that return nothing: any body is accepted."""
