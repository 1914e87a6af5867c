"""What processes use, as Linux tells it: CPU seconds, memory, and the peak of memory since it was last forgotten."""

from __future__ import annotations

import os
import time
from pathlib import Path


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process so far, also of those that have ended, with their kernel time.

    Read from the clock of the process, as ``clock_getcpuclockid`` names it: /proc/PID/stat counts in steps of 10 ms,
    which is as long as a hundred small calls.
    """
    return time.clock_gettime(~pid << 3 | 2)


def memory(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    return _status(pid, "VmRSS")


def peak_memory(pid: int) -> int:
    """Most resident memory of a process since `forget_peak`, in bytes."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Let the peak of memory count from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no {name}: it has ended")


class Watched:
    """What each of some processes used while the context was open; this process is watched as ``caller``.

    Parameters
    ----------
    pids : dict
        Process numbers by role, as in ``{"backend": 4711, "broker": 4712}``.

    Attributes
    ----------
    cpu_s : dict
        CPU seconds by role.
    rise : dict
        By role, how far resident memory rose above what it was at the beginning, in bytes.
    """

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = {"caller": os.getpid(), **pids}
        self.cpu_s: dict[str, float] = {}
        self.rise: dict[str, int] = {}

    def __enter__(self) -> Watched:
        for pid in self._pids.values():
            forget_peak(pid)
        self._memory = {role: memory(pid) for role, pid in self._pids.items()}
        self._cpu_s = {role: cpu_s(pid) for role, pid in self._pids.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s = {role: cpu_s(pid) - self._cpu_s[role] for role, pid in self._pids.items()}
        self.rise = {role: peak_memory(pid) - self._memory[role] for role, pid in self._pids.items()}
