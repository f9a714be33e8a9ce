"""Logging as text or JSON. Every line has its request's id; secrets are redacted."""

import logging
import re
from contextvars import ContextVar
from typing import Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]

#: The id of the current request; empty outside of a request.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# The secret part of an API key, also after a client has percent-encoded its underscore (repeatedly). The key's id is
# kept, so that a leaked key can be identified and revoked.
_KEY = re.compile(r"([0-9A-Fa-f]{12})(?:_|%(?:25)*5[Ff])[A-Za-z0-9_%-]+")

# As in postgresql://name:password@host?password=...
_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s:/@]*:)[^\s\"'<>]+(?=@)|([?&]password=)[^\s\"'&]+")

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s%(request)s"


def configure(level: str, form: LogFormat, replica: str = "") -> None:
    """Write logs to standard error.

    Args:
        level: debug, info, warning or error.
        form: text, or json: one object per line, including the fields of `extra`.
        replica: name of this process among the replicas of a cluster, for every line.
    """
    handler = logging.StreamHandler()
    text = logging.Formatter(f"{_TEXT} replica={replica}" if replica else _TEXT)
    handler.setFormatter(_WithoutSecrets(_json(replica) if form == "json" else text))
    handler.addFilter(_name_request)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It logs every request to Label Studio and to the hub.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def without_secrets(text: str) -> str:
    """The text with API key secrets and passwords in URLs replaced by dots."""
    return _PASSWORD.sub(r"\1\2...", _KEY.sub(r"\1_...", text))


class _WithoutSecrets(logging.Formatter):
    """Redacts secrets in messages and tracebacks: API keys in wrong fields, database URLs."""

    def __init__(self, form: logging.Formatter) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(self._form.format(record))


def _json(replica: str) -> logging.Formatter:
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        # uvicorn adds a coloured copy of its messages.
        reserved_attrs=[*RESERVED_ATTRS, "request", "color_message"],
        exc_info_as_array=True,
        static_fields={"replica": replica} if replica else {},
    )


def _name_request(record: logging.LogRecord) -> bool:
    """Add the request id to the record, unless it has one."""
    record.request = ""
    if not hasattr(record, "request_id") and (named := request_id.get()):
        record.request_id = named
        record.request = f" request={named}"
    return True
