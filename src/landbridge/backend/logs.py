"""Which call a line of the log belongs to: every record made while a call is served carries its id and caller.

What is logged in a worker process is logged again in the backend, whose log the owner reads.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .context import CurrentCall, current

__all__ = ["CallFilter", "call_fields", "log_from_worker", "record_meta"]

_TEXT_CHARACTERS = 8000
_plain = logging.Formatter()


def call_fields(call: CurrentCall) -> dict[str, object]:
    """Return what a line of the log says of a call: ids and names, never arguments or values."""
    fields: dict[str, object] = {
        "call": call.call_id,
        "caller": call.caller,
        "method": call.target.partition(".")[2],
    }
    if call.trace is not None:
        fields["trace_id"] = call.trace.trace_id
    return fields


class CallFilter(logging.Filter):
    """Adds ``record.call_fields`` to what is logged while a call is served; to be added to a handler.

    It lets everything pass. Fields that the record has already, from ``extra``, stay.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        call = current.get()
        if call is not None and not hasattr(record, "call_fields"):
            record.call_fields = call_fields(call)
        return True


def record_meta(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record as a worker sends it to its backend; of a traceback that is too long the end is kept."""
    return {
        "name": record.name[:200],
        "level": record.levelno,
        "text": record.getMessage()[:_TEXT_CHARACTERS],
        "traceback": _plain.formatException(record.exc_info)[-_TEXT_CHARACTERS:] if record.exc_info else "",
    }


def log_from_worker(meta: Mapping[str, Any], call: CurrentCall | None) -> None:
    """Log in the backend what was logged in a worker; `call` is the one in whose code that was."""
    logger = logging.getLogger(meta["name"])
    if not logger.isEnabledFor(meta["level"]):
        return
    fields = {"call_fields": call_fields(call)} if call is not None else {}
    logger.handle(
        logging.makeLogRecord(
            {
                "name": meta["name"],
                "levelno": meta["level"],
                "levelname": logging.getLevelName(meta["level"]),
                "msg": meta["text"],
                "exc_text": meta["traceback"] or None,
                **fields,
            }
        )
    )
