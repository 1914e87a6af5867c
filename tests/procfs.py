"""What Linux tells in /proc of processes that may end while one looks."""

from __future__ import annotations

from pathlib import Path


def children_of(pid: int) -> set[int]:
    """Return the processes that a process has started itself and that have not been waited for."""
    return {int(child) for task in Path(f"/proc/{pid}/task").glob("*") for child in _words(task / "children")}


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # the thread has ended since it was found
        return []
