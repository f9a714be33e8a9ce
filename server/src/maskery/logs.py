"""Log lines for people or for programs, each with the id of the request that it belongs to, and none with a secret."""

import logging
import re
from contextvars import ContextVar
from typing import Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]

#: Of the request that is being answered here; empty outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# The secret of a key and, where a client has encoded a path twice, what became of the line before it. The ID stays:
# whoever finds it in a log knows which key to revoke.
_KEY = re.compile(r"([0-9A-Fa-f]{12})(?:_|%(?:25)*5[Ff])[A-Za-z0-9_%-]+")

# As in postgresql://name:password@host?password=...
_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s:/@]*:)[^\s\"'<>]+(?=@)|([?&]password=)[^\s\"'&]+")

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s%(request)s"


def configure(level: str, form: LogFormat) -> None:
    """Send log lines to standard error.

    Args:
        level: debug, info, warning or error.
        form: text; json: one object a line, with what `extra` gave beside the message.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_WithoutSecrets(_json() if form == "json" else logging.Formatter(_TEXT)))
    handler.addFilter(_name_request)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def without_secrets(text: str) -> str:
    """The text less the secrets of keys and the passwords of addresses in it."""
    return _PASSWORD.sub(r"\1\2...", _KEY.sub(r"\1_...", text))


class _WithoutSecrets(logging.Formatter):
    """Whatever a line or its traceback quotes: a key that a client put in the wrong place, a database's address."""

    def __init__(self, form: logging.Formatter) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(self._form.format(record))


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        # uvicorn gives its messages along in colours too.
        reserved_attrs=[*RESERVED_ATTRS, "request", "color_message"],
        exc_info_as_array=True,
    )


def _name_request(record: logging.LogRecord) -> bool:
    """Give the line its request's id, unless it brought one along."""
    record.request = ""
    if not hasattr(record, "request_id") and (named := request_id.get()):
        record.request_id = named
        record.request = f" request={named}"
    return True
