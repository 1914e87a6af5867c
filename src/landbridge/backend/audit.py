"""The audit log of a backend: who called what, what was decided, what came of it. Only ever added to."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Busy, printable
from ..security import FIRST, sealed

__all__ = ["Audit", "digest"]

_log = logging.getLogger(__name__)
_FILE_BYTES = 64 * 1024 * 1024
_DIGESTED_BYTES = 64 * 1024
_RETRY_S = 5.0
_REFUSALS_EVERY_S = 10.0
_CALLERS_KEPT = 1000
_KEPT_RECORDS = 10_000
_TAIL_BYTES = 1024 * 1024


def digest(frame: memoryview | bytearray) -> str:
    """Return what tells encoded arguments from others: SHA-256 of them, or of both ends of long ones.

    Examples
    --------
    >>> digest(bytearray(b"abc"))[:23]
    'sha256:ba7816bf8f01cfea'
    """
    if len(frame) <= _DIGESTED_BYTES:
        return f"sha256:{hashlib.sha256(frame).hexdigest()}"
    view, half = memoryview(frame), _DIGESTED_BYTES // 2
    ends = hashlib.sha256(view[:half])
    ends.update(view[-half:])
    ends.update(str(len(frame)).encode())
    return f"sha256-of-both-ends:{ends.hexdigest()}"


class Audit:
    """Writes what happens into a file, as records with seals. All methods are called in a turn of one loop.

    Records are written and sealed some times a second; where they are required, each before its call begins.

    Parameters
    ----------
    folder : Path
        Where the file is, ``audit.jsonl``; full ones are kept beside it, numbered.
    required : bool
        Whether nothing may run that cannot be written down.
    """

    def __init__(self, folder: Path, *, required: bool = False) -> None:
        self.required = required
        self._folder, self._path = folder, folder / "audit.jsonl"
        self._waiting: list[tuple[float, Mapping[str, Any] | tuple[Any, ...]]] = []
        self._unwritten = b""
        self._refused: dict[str, tuple[float, int]] = {}
        self._counted, self._lost = time.monotonic(), 0
        self._fault = ""
        self._second, self._second_text = 0, ""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        self._number, self._before, self._unsealed = _end_of(self._file, self._path)
        if self._unsealed:
            # They will be sealed with what follows; that nobody has when they were written has to be seen.
            self.note("unsealed", records=self._unsealed.count("\n"))

    def call(
        self, call_id: str, caller: str, member: str, why: str, outcome: str, arguments: str, bytes_in: int,
        bytes_out: int, seconds: float, more: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Write down a call that has ended, and what more there is to say of it."""
        self._add((call_id, caller, member, why, outcome, arguments, bytes_in, bytes_out, seconds, more))

    def begins(self, target: str, said: Mapping[str, Any]) -> None:
        """Write down a call that is about to begin; raises `Busy` when it has to be written down and cannot be."""
        if self._fault:
            self.write()  # there may be room again
        if not self._fault:
            self._add({"event": "begins", **said})
            self.write()
        if self._fault:
            raise Busy(target, "its backend cannot write its audit log, and runs nothing unlogged", _RETRY_S)

    def refused(self, who: str, said: Mapping[str, Any]) -> None:
        """Write down a refusal; of many for the same caller the first, and later how many more there were."""
        now = time.monotonic()
        last, count = self._refused.get(who, (-_REFUSALS_EVERY_S, 0))
        if now - last < _REFUSALS_EVERY_S:
            self._refused[who] = last, count + 1
            return
        if len(self._refused) >= _CALLERS_KEPT:
            self._count_refusals(0.0)
        self._refused[who] = now, 0
        more = {"and_before": count} if count else {}
        self._add({"event": "refused", "caller": who, **said, **more})

    def _count_refusals(self, after_s: float) -> None:
        """Write down how often callers were refused since their last record, if that is so long ago."""
        now = self._counted = time.monotonic()
        for who, (last, count) in list(self._refused.items()):
            if now - last >= after_s:
                del self._refused[who]
                if count:
                    self._add({"event": "refused", "caller": who, "and_before": count})

    def note(self, event: str, **said: Any) -> None:
        """Write down something else: that the backend serves or stops, that the rules are others."""
        self._add({"event": event, **said})

    def _add(self, said: Mapping[str, Any] | tuple[Any, ...]) -> None:
        if len(self._waiting) < _KEPT_RECORDS:
            self._waiting.append((time.time(), said))
        else:
            self._lost += 1  # the disk is full, and so would the memory be

    def _line(self, at_s: float, said: Mapping[str, Any] | tuple[Any, ...]) -> str:
        self._number += 1
        head = f'{{"number":{self._number},"at":"{self._stamp(at_s)}",'
        if not isinstance(said, tuple):
            return head + json.dumps(said, separators=(",", ":"), ensure_ascii=True)[1:] + "\n"
        # As `json` would write it, in a third of the time: names and ids have no character that is written otherwise.
        call_id, caller, member, why, outcome, arguments, bytes_in, bytes_out, seconds, more = said
        also = f",{json.dumps(more, separators=(',', ':'), ensure_ascii=True)[1:-1]}" if more else ""
        return (
            f'{head}"event":"call","call":"{call_id}","caller":"{caller}","member":"{member}",'
            f'"decision":{_quoted(why)},"outcome":"{outcome}","arguments":"{arguments}","bytes_in":{bytes_in},'
            f'"bytes_out":{bytes_out},"microseconds":{int(seconds * 1e6)}{also}}}\n'
        )

    def _stamp(self, at_s: float) -> str:
        second = int(at_s)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((at_s - second) * 1000):03d}Z"

    def write(self) -> None:
        """Write what waits to be written, and seal it."""
        if time.monotonic() - self._counted >= _REFUSALS_EVERY_S:
            self._count_refusals(_REFUSALS_EVERY_S)
        if not self._waiting and not self._unwritten:
            return
        if not self._unwritten:
            if self._lost:
                self._waiting.append((time.time(), {"event": "lost", "records": self._lost}))
                self._lost = 0
            lines = "".join([self._line(at_s, said) for at_s, said in self._waiting])
            self._waiting.clear()
            self._number += 1
            seal, self._before = sealed(self._unsealed + lines, self._number, self._stamp(time.time()), self._before)
            self._unsealed = ""
            self._unwritten += f"{lines}{seal}\n".encode("ascii")
        start = os.lseek(self._file, 0, os.SEEK_END)
        try:
            written = os.write(self._file, self._unwritten)
            if written < len(self._unwritten):
                os.ftruncate(self._file, start)  # half a record would end what can be read
                raise OSError("the disk is full")
        except OSError as error:
            if not self._fault:
                _log.error("the audit log %s cannot be written: %s", self._path, printable(error, 200))
            self._fault = str(error)
            return
        if self._fault:
            _log.warning("the audit log %s is written again", self._path)
        start += len(self._unwritten)
        self._fault, self._unwritten = "", b""
        if start > _FILE_BYTES:
            self._turn_over()

    def _turn_over(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
        with contextlib.suppress(OSError):
            self._path.rename(self._folder / f"audit-{self._number:012d}.jsonl")
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def close(self) -> None:
        """Write all, and let go of the file."""
        self._count_refusals(0.0)
        self.write()
        if self._waiting:  # behind what could not be written before
            self.write()
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)


@functools.lru_cache(1000)
def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)


def _end_of(file: int, path: Path) -> tuple[int, str, str]:
    """Return the number of the last record, the hash of the last seal, and the lines after that.

    So the chain goes on; half a line at the end is taken off.
    """
    size = os.lseek(file, 0, os.SEEK_END)
    tail = os.pread(file, min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        _log.warning("%s ended in the middle of a record, as after a power cut; that is taken off", path)
        os.ftruncate(file, size - len(tail) + len(whole))
    if not whole:
        full = sorted(path.parent.glob("audit-*.jsonl"))
        return (0, FIRST, "") if not full or full[-1] == path else _end_of_full(full[-1])
    lines = whole.decode("ascii", "replace").splitlines(keepends=True)
    try:
        last = max(place for place, line in enumerate(lines) if '"event":"sealed"' in line)
        before, number = str(json.loads(lines[last])["hash"]), int(json.loads(lines[-1])["number"])
    except (ValueError, KeyError, TypeError, RecursionError):
        _log.error("the last records of %s cannot be read; a new chain begins behind them", path)
        return 0, FIRST, ""
    return number, before, "".join(lines[last + 1 :])


def _end_of_full(path: Path) -> tuple[int, str, str]:
    file = os.open(path, os.O_RDWR)
    try:
        return _end_of(file, path)
    finally:
        os.close(file)
