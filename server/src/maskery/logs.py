"""Log lines for people or for programs, each with the id of the request that it belongs to."""

import logging
from contextvars import ContextVar
from typing import Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]

#: Of the request that is being answered here; empty outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s%(request)s"


def configure(level: str, form: LogFormat) -> None:
    """Send log lines to standard error.

    Args:
        level: debug, info, warning or error.
        form: text; json: one object a line, with what `extra` gave beside the message.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_json() if form == "json" else logging.Formatter(_TEXT))
    handler.addFilter(_name_request)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


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
