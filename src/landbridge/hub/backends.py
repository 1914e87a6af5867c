"""What the backends of a module keep on this computer over a restart: who each of them is, and the module's own key."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..names import parse_address
from ..security import KeyPair, new_key
from ..settings import private_read, private_write, state_dir, try_lock

__all__ = ["Instances", "audit_folder", "module_folder", "module_key", "values_folder"]

_LOCK = "lock"
_KEY = "module.nk"
_ID = re.compile("[0-9a-f]{32}")


class Instances:
    """The ids of the backends of one module, each held by one process at a time.

    An id that an ended backend has left is taken again, so that what it kept on disk is found by who asks for it.

    Parameters
    ----------
    module : str
        ``institute/module``.

    Raises
    ------
    InvalidName
        When that is no address.
    """

    def __init__(self, module: str) -> None:
        self._folder = module_folder(module)
        self._locks: dict[str, int] = {}

    def claim(self) -> str:
        """Return an id, 32 hexadecimal digits, that is this process's until it ends or gives it back."""
        beside = self._folder.iterdir() if self._folder.is_dir() else ()
        known = sorted(path.name for path in beside if _ID.fullmatch(path.name) and path.is_dir())
        for instance in known:
            if instance not in self._locks and self._lock(instance):
                return instance
        while not self._lock(instance := secrets.token_hex(16)):
            pass
        return instance

    def give_back(self, instance: str) -> None:
        """Let others have an id: its backend has ended."""
        handle = self._locks.pop(instance, None)
        if handle is None:
            return
        folder = self._folder / instance
        if all(path.name == _LOCK for path in folder.iterdir()):
            with suppress(OSError):  # nothing is kept under this id
                (folder / _LOCK).unlink()
                folder.rmdir()
        os.close(handle)

    def _lock(self, instance: str) -> bool:
        folder = self._folder / instance
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(handle, False)
        # Whoever gave it back meanwhile has removed the file that we hold.
        if try_lock(handle) and (folder / _LOCK).exists():
            self._locks[instance] = handle
            return True
        os.close(handle)
        return False


def values_folder(module: str, instance: str) -> Path:
    """Return where a backend of a module puts values that it keeps."""
    return module_folder(module) / instance / "values"


def audit_folder(module: str, instance: str) -> Path:
    """Return where a backend of a module writes its audit log."""
    return module_folder(module) / "audit" / instance


def module_key(module: str, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> KeyPair:
    """Return the key that signs grants of a module; made when it is first needed, and the same from then on."""
    path = module_folder(module) / _KEY
    if not path.exists():
        private_write(path, new_key("user", random_bytes(32)).seed)
    return KeyPair.from_seed(private_read(path))


def module_folder(module: str) -> Path:
    """Return the folder of what is kept of a module on this computer; it exists once the module has been served."""
    where = parse_address(module)  # it becomes a part of a path
    return state_dir() / "backends" / f"{where.institute}.{where.module}"
