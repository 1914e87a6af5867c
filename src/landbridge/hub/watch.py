"""Noticing that the source of what is served has changed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MOST_FILES", "Snapshot", "snapshot"]

MOST_FILES = 2000
"""More files than these are not looked at; whoever has more below one folder serves the wrong one."""

Snapshot = dict[str, tuple[int, int]]
"""Time of change (ns) and size of each file."""


def snapshot(served: Path) -> Snapshot:
    """Return the state of the Python files that belong to a served one: those in its folder and in packages below.

    Parameters
    ----------
    served : Path
        The file of the module; of a package its ``__init__.py``.
    """
    found: Snapshot = {}
    # The served one first, whatever lies beside it.
    for path in itertools.islice(itertools.chain([str(served)], _python_files(str(served.parent))), MOST_FILES):
        try:
            status = os.stat(path)
        except OSError:  # gone meanwhile: that is a change, too
            continue
        found[path] = (status.st_mtime_ns, status.st_size)
    return found


def _python_files(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in listed:
        if entry.name.endswith(".py") and entry.is_file():
            yield entry.path
    for entry in listed:
        if entry.is_dir(follow_symlinks=False) and os.path.isfile(os.path.join(entry.path, "__init__.py")):
            yield from _python_files(entry.path)
