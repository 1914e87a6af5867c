"""Records that show whether one of them was changed, taken out or put in: seals among them, each over those before it.

One line of JSON for each record. A seal is a line with ``"event":"sealed"``, the hash of the seal ``before`` it (of the
first: 64 zeros) and its own: the SHA-256 of the lines since that seal, and of itself up to there. Who can write the
file can write all of it anew, but not so that it has a hash that somebody has noted elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..errors import Malformed, printable

__all__ = ["FIRST", "LONGEST_LINE", "Record", "read_chain", "sealed"]

FIRST = "0" * 64
"""What stands for the hash before the first seal."""
LONGEST_LINE = 64 * 1024
"""Longest line that is read."""
_MOST_AT_ONCE = 100_000


class Record(NamedTuple):
    """One record; of a seal its hash, and what is wrong with it or with those since the seal before it."""

    said: dict[str, Any]
    hash: str = ""
    fault: str = ""


def sealed(lines: str, number: int, at: str, before: str) -> tuple[str, str]:
    r"""Return the seal of some lines, without its end of line, and its hash.

    Parameters
    ----------
    lines : str
        The lines since the seal before, each with its end.
    number, at : int, str
        The number of the seal among the records, and its time.
    before : str
        Hash of the seal before.

    Examples
    --------
    >>> seal, digest = sealed('{"caller":"awi/anna"}\n', 2, "2026-11-26T12:00:00.000Z", FIRST)
    >>> seal.endswith(f'"before":"{FIRST}","hash":"{digest}"}}')
    True
    """
    body = f'{{"number":{number},"at":"{at}","event":"sealed","before":"{before}"'
    digest = hashlib.sha256(f"{lines}{body}".encode()).hexdigest()
    return f'{body},"hash":"{digest}"}}', digest


def read_chain(lines: Iterable[str], before: str | None = None) -> Iterator[Record]:
    """Go through records, and say of each seal whether all is as it was written.

    Records behind the last seal are followed by one of the event ``unsealed`` that counts them: whoever writes, seals.

    Parameters
    ----------
    lines : iterable of str
        As they were written, with or without their ends.
    before : str, optional
        Hash of the seal before the first line; by default, whatever the first seal names.

    Raises
    ------
    Malformed
        When a line is no record at all; nothing that follows can be told.
    """
    since: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\n")
        try:
            said = json.loads(text) if len(text) <= LONGEST_LINE else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or len(since) > _MOST_AT_ONCE:
            raise Malformed(f"line {number} of the log is no record: {printable(text, 60)}")
        if said.get("event") != "sealed":
            since.append(text)
            yield Record(said)
            continue
        names = said.get("before")
        seal, digest = sealed(
            "".join(f"{each}\n" for each in since), _plain(said.get("number")), str(said.get("at")), str(names)
        )
        fault = ""
        if seal != text:
            fault = f"it, or one of the {len(since)} records before it, was changed, taken out or put in"
        elif before is not None and names != before:
            fault = "what was before it is missing, or another"
        before = str(said.pop("hash", ""))
        since.clear()
        yield Record(said, digest, fault)
    if since:
        yield Record({"event": "unsealed", "records": len(since)})


def _plain(number: object) -> int:
    return number if type(number) is int else -1
