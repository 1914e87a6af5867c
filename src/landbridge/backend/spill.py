"""Values on disk: the frame as it is on the wire, opened again as a memory map, and beside it who may have it."""

from __future__ import annotations

import errno
import json
import logging
import mmap
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import Malformed

__all__ = ["SpillFolder"]

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{32}")
_RECORD_BYTES = 64 * 1024
_STEP_BYTES = 64 * 1024 * 1024


class SpillFolder:
    """The folder in which one backend keeps values.

    Parameters
    ----------
    path : Path
        The folder; made, for its owner only, when the first value comes. No other process writes there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, value_id: str, frame: memoryview, record: dict[str, Any]) -> None:
        """Put a value on disk whole or not at all, as far as this process is concerned: no power cut is waited for.

        Raises
        ------
        OSError
            When there is no room, or the disk fails; nothing is left there then.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path, prefix=".new-")  # mode 0600
        try:
            with open(handle, "wb", buffering=0) as file:
                for begin in range(0, len(frame), _STEP_BYTES):
                    step = frame[begin : begin + _STEP_BYTES]
                    while step:
                        step = step[file.write(step) :]
            os.replace(temporary, self._frame(value_id))
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        try:
            self.note(value_id, record)
        except BaseException:
            self.remove(value_id)
            raise

    def note(self, value_id: str, record: dict[str, Any]) -> None:
        """Write anew who may have a value, and how long."""
        written = json.dumps(record)
        if len(written) > _RECORD_BYTES:  # or the next start would take it for damaged
            raise OSError(errno.EFBIG, "what is said of the value is too long")
        handle, temporary = tempfile.mkstemp(dir=self._path, prefix=".new-")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(written)
            os.replace(temporary, self._record(value_id))
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def map(self, value_id: str) -> memoryview:
        """Return a value on disk as read-only memory, which costs nothing until it is read.

        A map holds a descriptor of its own, so nobody keeps one for longer than he reads.
        """
        with open(self._frame(value_id), "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def remove(self, value_id: str) -> None:
        """Remove a value; who has it mapped can go on reading."""
        for path in (self._record(value_id), self._frame(value_id)):
            with suppress(OSError):
                path.unlink()

    def records(self) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Go through the values that an earlier run has left: id, size in bytes, and what was noted.

        What is not whole is removed; what only cannot be read now stays there.
        """
        if not self._path.is_dir():
            return
        for path in sorted(self._path.iterdir()):
            value_id = path.name.partition(".")[0]
            if path.name.startswith(".new-"):
                with suppress(OSError):
                    path.unlink()
            elif path.suffix == ".json" and _ID.fullmatch(value_id):
                try:
                    record, size = self._read(path), self._frame(value_id).stat().st_size
                    if not size:
                        raise Malformed("a kept value is empty")
                except (ValueError, RecursionError, Malformed, FileNotFoundError):
                    self.remove(value_id)
                except OSError:
                    _log.warning("a kept value of an earlier run cannot be read now, and stays on disk: %s", value_id)
                else:
                    yield value_id, size, record
            elif path.suffix == ".frame" and not self._record(value_id).exists():
                self.remove(value_id)

    def _read(self, path: Path) -> dict[str, Any]:
        if path.stat().st_size > _RECORD_BYTES or not self._frame(path.stem).is_file():
            raise Malformed("a record of a kept value is too long, or its value is missing")
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise Malformed("a record of a kept value is no JSON object")
        return record

    def _frame(self, value_id: str) -> Path:
        return self._path / f"{value_id}.frame"

    def _record(self, value_id: str) -> Path:
        return self._path / f"{value_id}.json"
