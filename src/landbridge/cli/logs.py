"""The log of commands that go on: on stderr, as lines for people or as one JSON object for each event."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Literal

from .console import json_text, safe

__all__ = ["LogFormat", "log_to_stderr"]

LogFormat = Literal["text", "json"]

_SECONDS = "%Y-%m-%dT%H:%M:%S"


class _SafeFormatter(logging.Formatter):
    """Tracebacks and names from elsewhere stand in the log, which somebody reads in a terminal.

    Only the first line of a record begins with a time: a text of several lines cannot pass for several records.
    What served code logs says which call it belongs to; our own lines say so in words where it matters.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        fields = getattr(record, "call_fields", None)
        if fields and not record.name.startswith("landbridge."):
            first, newline, rest = text.partition("\n")
            text = f"{first} (call {fields['call']} of {fields['caller']}){newline}{rest}"
        return safe(text).replace("\n", "\n  | ")


class _JsonFormatter(logging.Formatter):
    """One object a line; no text can end it early or steer a terminal.

    Parameters
    ----------
    facts : mapping of str to str
        What every line says besides: the module, the backend. Read anew for each line.
    """

    def __init__(self, facts: Mapping[str, str]) -> None:
        super().__init__()
        self._facts = facts

    def format(self, record: logging.LogRecord) -> str:
        milliseconds = int(record.created * 1000) % 1000
        line: dict[str, object] = {
            "time": f"{time.strftime(_SECONDS, time.gmtime(record.created))}.{milliseconds:03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._facts,
            **getattr(record, "call_fields", {}),
        }
        if record.exc_text:  # a worker sends what it caught as text
            line["exception"] = record.exc_text
        elif record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json_text(line)


def log_to_stderr(
    level: int,
    form: LogFormat = "text",
    facts: Mapping[str, str] | None = None,
    of_calls: logging.Filter | None = None,
) -> None:
    """Send the log of this process to stderr.

    Parameters
    ----------
    level : int
        From which level on our own events are logged: ``logging.DEBUG`` tells the end of every call.
    form : {"text", "json"}
        Lines for people, or one JSON object for each event.
    facts : mapping of str to str, optional
        What every JSON object says besides; it may be added to later.
    of_calls : logging.Filter, optional
        Adds to each record which call it belongs to: `backend.logs.CallFilter`.
    """
    handler = logging.StreamHandler()
    if form == "json":
        handler.setFormatter(_JsonFormatter(facts or {}))
    else:
        handler.setFormatter(_SafeFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    if of_calls is not None:
        handler.addFilter(of_calls)
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("landbridge").setLevel(level)
