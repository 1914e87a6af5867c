"""Reading the audit logs of a module: those of all its backends on this computer, as one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Malformed
from ..security import FIRST, LONGEST_LINE, read_chain
from .backends import module_folder

__all__ = ["Entry", "Ledger", "ledgers", "merged"]


_UNSEALED = "they were put in, or the computer ended while they were written"


class Entry(NamedTuple):
    """One record of one backend, its hash if it is a seal, and what is wrong with it; nothing when all is well."""

    at: str
    instance: str
    said: dict[str, Any]
    fault: str
    seal: str = ""


class Ledger:
    """The audit log of one backend.

    Parameters
    ----------
    folder : Path
        Its files: ``audit.jsonl``, and full ones, numbered.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [*sorted(folder.glob("audit-*.jsonl")), *folder.glob("audit.jsonl")]
        self.instance = folder.name
        self.head = FIRST

    def read(self) -> Iterator[Entry]:
        """Go through all records, the oldest first; afterwards `head` is the hash of the last seal."""
        before: str | None = None
        last = ""
        for file in self._files:
            with file.open(encoding="ascii", errors="replace") as lines:
                try:
                    for record in read_chain(_whole(lines), before):
                        if record.hash:
                            before = self.head = record.hash
                        fault = record.fault
                        if record.said.get("event") == "unsealed":
                            fault = f"{record.said.get('records')} records before it were not sealed: {_UNSEALED}"
                        if not last and not fault and record.said.get("number") != 1:
                            fault = "what was written before it is not here"
                        last = str(record.said.get("at", last))[:40]
                        yield Entry(last, self.instance, record.said, fault, record.hash)
                except Malformed as error:
                    before = None
                    yield Entry(last, self.instance, {"event": "unreadable"}, f"{file.name}: {error.reason}")


def _whole(lines: Any) -> Iterator[str]:
    """Give whole lines; the last may be half written yet."""
    while line := lines.readline(LONGEST_LINE + 1):
        if line.endswith("\n") or len(line) > LONGEST_LINE:
            yield line


def ledgers(module: str) -> list[Ledger]:
    """Return the audit logs of all backends of a module that have run on this computer."""
    folder = module_folder(module) / "audit"
    return [Ledger(each) for each in sorted(folder.iterdir()) if each.is_dir()] if folder.is_dir() else []


def merged(logs: list[Ledger]) -> Iterator[Entry]:
    """Go through the records of several backends in the order of their times."""
    return heapq.merge(*(log.read() for log in logs), key=lambda entry: entry.at)
