"""What waits for an owner's approval on this computer, as files: backends put them there, and a command decides.

::

    $XDG_STATE_HOME/landbridge/backends/geomar.ocean/approvals/RUN/lock           held as long as the backend lives
                                                                   ID.json        what waits
                                                                   ID.verdict     what was decided of it
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backend.approvals import Verdict
from ..errors import NotConfigured
from ..settings import private_read, private_write, state_dir, try_lock
from .backends import module_folder

__all__ = ["FileDesk", "Pending", "pending"]

_FOLDER = "approvals"
_LOCK = "lock"
_VERDICT = ".verdict"
_RUN, _ID = re.compile("[0-9a-f]{16}"), re.compile("[0-9a-f]{8}")
_MOST_SHOWN = 10_000


class FileDesk:
    """The desk of one backend; what a backend left that was killed is taken away by the next one.

    Parameters
    ----------
    module : str
        ``institute/module``.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._all = module_folder(module) / _FOLDER
        self._folder = self._all / secrets.token_hex(8)
        self._lock: int | None = None
        self._closed = False
        self._writing = threading.Lock()
        for run in self._all.iterdir() if self._all.is_dir() else ():
            _is_alive(run)

    def lay(self, item: str, said: dict[str, Any]) -> None:
        """Put something there, to be seen; called in threads. Raises `OSError` when it cannot be."""
        with self._writing:
            if self._closed:
                return
            if self._lock is None:
                self._open()
            private_write(self._folder / f"{item}.json", json.dumps(said))

    def _open(self) -> None:
        # Locked before anybody looks for it under its name: what is found without a lock is left over.
        hidden = self._all / f".{self._folder.name}"
        hidden.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try_lock(handle)
        hidden.rename(self._folder)
        self._lock = handle

    def verdicts(self) -> list[Verdict]:
        """Return what has been decided since this was last asked."""
        found = []
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if name.endswith(_VERDICT):
                    found.append(self._verdict(self._folder / name))
        return [verdict for verdict in found if verdict is not None]

    def _verdict(self, path: Path) -> Verdict | None:
        try:
            said = json.loads(private_read(path))
            accepted, because = said["accepted"], said["because"]
            path.unlink()
        except (OSError, NotConfigured, ValueError, TypeError, KeyError, RecursionError):
            with suppress(OSError):
                path.unlink()  # nobody but our command writes there, and whoever did will see that it still waits
            return None
        return Verdict(path.name.removesuffix(_VERDICT), accepted is True, str(because))

    def clear(self, item: str) -> None:
        """Take something away: nothing is to be decided any more."""
        for name in (f"{item}.json", f"{item}{_VERDICT}"):
            with suppress(OSError):
                (self._folder / name).unlink()

    def close(self) -> None:
        """Take everything away."""
        with self._writing:
            self._closed = True
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


@dataclass(frozen=True)
class Pending:
    """Something that waits.

    Attributes
    ----------
    said : dict
        What its backend says of it: ``id``, ``module``, ``member``, ``caller``, ``call``, ``since``,
        ``arguments`` (None when they were not noted), and of the ``result`` its ``type``, ``bytes``,
        ``preview`` and, where there are such, ``shape`` and ``dtype``.
    """

    said: dict[str, Any]
    _path: Path

    @property
    def still_waits(self) -> bool:
        """Whether it is still there to be decided."""
        return self._path.exists()

    def decide(self, accepted: bool, because: str = "") -> bool:
        """Let it go, or refuse it; False when it does not wait any more."""
        if not self.still_waits:
            return False
        private_write(self._path.with_suffix(_VERDICT), json.dumps({"accepted": accepted, "because": because}))
        return True


def pending() -> list[Pending]:
    """Return what waits in all modules that this computer serves, the oldest first."""
    return sorted(_found(), key=lambda each: (str(each.said.get("since")), str(each.said.get("id"))))[:_MOST_SHOWN]


def _found() -> Iterator[Pending]:
    for run in (state_dir() / "backends").glob(f"*/{_FOLDER}/*"):
        if not _is_alive(run):
            continue
        for path in run.glob("*.json"):
            if not _ID.fullmatch(path.stem) or path.with_suffix(_VERDICT).exists():
                continue
            with suppress(NotConfigured, ValueError, RecursionError):  # it has just been taken away
                said = json.loads(private_read(path))
                if isinstance(said, dict):
                    yield Pending({**said, "id": path.stem}, path)


def _is_alive(run: Path) -> bool:
    """Whether the backend still runs that asks there; what one has left that does not is removed."""
    if not _RUN.fullmatch(run.name):
        return False
    handle = None
    try:
        handle = os.open(run / _LOCK, os.O_RDWR)
        if not try_lock(handle):
            return True
    except FileNotFoundError:
        pass
    finally:
        if handle is not None:
            os.close(handle)
    shutil.rmtree(run, ignore_errors=True)
    return False
