"""``landbridge audit``: who called what of a module that this computer serves, and whether the log is whole."""

from __future__ import annotations

import csv as csv_format
import datetime
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import NotConfigured
from ..hub.audits import Entry, Ledger, ledgers, merged
from ..names import parse_address
from .console import clip, json_text, safe, say, show, show_json, table
from .ending import UsageError

__all__ = ["audit"]

_COLUMNS = (
    "at", "instance", "number", "event", "caller", "member", "outcome", "decision", "call", "arguments", "bytes_in",
    "bytes_out", "microseconds", "approval", "approval_at", "approval_because", "values",
)  # fmt: skip


_WRITTEN_S = 1.0
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?")


def audit(
    address: str,
    /,
    *,
    caller: str | None = None,
    since: str | None = None,
    until: str | None = None,
    outcome: str | None = None,
    last: int | None = None,
    verify: bool = False,
    head: str | None = None,
    csv: bool = False,
    json: bool = False,
) -> int:
    """Show who called what of a module, what was decided, and what came of it.

    Parameters
    ----------
    address
        ``institute/module``, or ``institute/module.member`` for one of its members.
    caller
        Only of this person, ``awi/anna``, or institute, ``awi``.
    since, until
        Only from or before this time (UTC): as 2026-11-26, or longer, as 2026-11-26T12:30.
    outcome
        Only what ended so: ``ok``, ``denied``, ``cancelled`` or another code.
    last
        Only so many, the latest.
    verify
        Check that no record was changed, taken out or put in, and print the hash of each backend's last seal.
    head
        With --verify: a hash that was printed before, which has to be there.
    csv, json
        Print CSV, or one JSON object for each line.

    Returns
    -------
    int
        1 when the log is not as it was written, else 0.
    """
    where = parse_address(address)
    if csv and json:
        raise UsageError("choose --csv or --json")
    if head is not None and not verify:
        raise UsageError("--head goes with --verify")
    if last is not None and last < 1:
        raise UsageError(f"--last is {last}, and must be at least 1")
    for name, moment in (("--since", since), ("--until", until)):
        if moment is not None and not _is_moment(moment):
            raise UsageError(f"{name} is {moment!r:.60}; write it as 2026-11-26, or as 2026-11-26T12:30")
    logs = ledgers(f"{where.institute}/{where.module}")
    if not logs:
        raise NotConfigured(
            f"There is no audit log of {address} on this computer. It is written where the module is served, unless "
            'its landbridge.toml says: audit = "off"'
        )
    if verify:
        return _verify(logs, head, json=json)
    chosen: Iterator[Entry] = (
        entry
        for entry in merged(logs)
        if (entry.said.get("event") != "sealed" or entry.fault)
        and (caller is None or _is_of(entry, caller))
        and (where.member is None or str(entry.said.get("member", "")).partition(".")[0] == where.member)
        and (outcome is None or entry.said.get("outcome") == outcome)
        and (since is None or entry.at >= since)
        and (until is None or entry.at < until)
    )
    found: Iterable[Entry] = chosen if last is None else deque(chosen, maxlen=last)
    if csv:
        _write_csv(found)
    elif json:
        for entry in found:
            show_json({**_facts(entry), **({"fault": entry.fault} if entry.fault else {})})
    else:
        _show(list(found))
    return 0


def _is_moment(text: str) -> bool:
    """Return whether it is a time in the form of the records, with which it is compared as text."""
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return _MOMENT.fullmatch(text) is not None


def _is_of(entry: Entry, caller: str) -> bool:
    who = str(entry.said.get("caller", ""))
    return who == caller or who.partition("/")[0] == caller.removesuffix("/*")


def _facts(entry: Entry) -> dict[str, Any]:
    return {**entry.said, "instance": entry.instance}


def _write_csv(found: Iterable[Entry]) -> None:
    writer = csv_format.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in found:
        facts = _facts(entry)
        # A spreadsheet takes what begins so for a formula; what strangers are called must not be one.
        cells = (_cell(facts.get(name, "")) for name in _COLUMNS)
        writer.writerow([f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in cells])


def _cell(fact: Any) -> str:
    return json_text(fact) if isinstance(fact, dict) else str(fact)


def _because(said: dict[str, Any]) -> str:
    """Return why it ended so, and with which arguments if they were written down."""
    parts = [str(said.get("decision", ""))]
    if "approval" in said:
        parts.insert(0, " ".join(str(said.get(name, "")) for name in ("approval", "approval_at", "approval_because")))
    if isinstance(values := said.get("values"), dict):
        parts.insert(0, ", ".join(f"{name}={json_text(value)}" for name, value in values.items()))
    return "; ".join(clip(safe(part), 60) for part in parts if part)


def _show(found: list[Entry]) -> None:
    rows = []
    for entry in found:
        said = entry.said
        took = f"{int(said['microseconds']) / 1000:,.1f} ms" if isinstance(said.get("microseconds"), int) else ""
        size = f"{int(said['bytes_out']):,} B" if isinstance(said.get("bytes_out"), int) else ""
        what = said.get("outcome") or said.get("event", "")
        who, member, what = (safe(str(each)) for each in (said.get("caller", ""), said.get("member", ""), what))
        because = _because(said)
        rows.append((entry.at, who, member, what, took, size, because, f"!! {entry.fault}" if entry.fault else ""))
    if not rows:
        say("Nothing of that is written down.")
        return
    show(table(("at (UTC)", "caller", "member", "outcome", "took", "gave", "because", ""), rows))


def _verify(logs: list[Ledger], head: str | None, *, json: bool) -> int:
    results: list[dict[str, Any]] = []
    seen = False
    for log in logs:
        count, faults, is_head, at_end = _checked(log, head)
        if at_end == "unsealed":
            time.sleep(_WRITTEN_S)  # they may just be written
            count, faults, is_head, _ = _checked(log, head)
        seen = seen or is_head
        results.append({"instance": log.instance, "records": count, "head": log.head, "faults": faults})
    if json:
        show_json(results)
    else:
        for each in results:
            show(f"{each['instance'][:8]}: {each['records']:,} records, sealed by {each['head']}")
            for fault in each["faults"]:
                show(f"  !! {fault['at']}, record {fault['number'] or 'at the end'}: {fault['fault']}")
    damaged = sum(len(each["faults"]) for each in results)
    if damaged:
        say(f"{damaged} places of the audit log are not as they were written.")
    elif head is not None and not seen:
        say(f"No seal has the hash {head}: the log was written anew, or cut off before it.")
    return 1 if damaged or (head is not None and not seen) else 0


def _checked(log: Ledger, head: str | None) -> tuple[int, list[dict[str, Any]], bool, str]:
    """Return how many records there are, what is wrong, whether a seal is `head`, and the event of the last record."""
    count, faults, is_head, event = 0, [], False, ""
    for entry in log.read():
        event = str(entry.said.get("event"))
        count += event not in ("sealed", "unsealed")
        is_head = is_head or (head is not None and entry.seal == head)
        if entry.fault:
            faults.append({"number": entry.said.get("number"), "at": entry.at, "fault": entry.fault})
    return count, faults, is_head, event
