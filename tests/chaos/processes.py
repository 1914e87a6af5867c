"""Processes that end with the harness, whatever ends it: the kernel kills them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

__all__ = ["Child", "marked", "of_this_run", "usage"]

# 1 is PR_SET_PDEATHSIG. The harness may have died before the request.
_BOUND = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
_MARK = "CHAOS_RUN"
_READY_TIMEOUT_S = 120.0


class Child:
    """A Python process that says in one line on stdout when it is ready.

    Attributes
    ----------
    pid : int
        Its number.
    ready : str
        The line.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.ready = ""

    @classmethod
    async def start(cls, arguments: list[str], env: dict[str, str], log: Path) -> Child:
        """Start ``python arguments`` and wait until it is ready; what it says on stderr is appended to `log`."""
        with open(log, "ab") as stderr:
            child = cls(
                await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    _BOUND,
                    str(os.getpid()),
                    *arguments,
                    env=env,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=stderr,
                )
            )
        try:
            child.ready = await child.line(_READY_TIMEOUT_S)
        except BaseException:
            await child.kill()
            raise
        return child

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def line(self, timeout_s: float) -> str:
        """Return its next line on stdout; empty when it has ended, or says nothing in time."""
        with contextlib.suppress(TimeoutError):
            return (await asyncio.wait_for(self._process.stdout.readline(), timeout_s)).decode().strip()
        return ""

    def tell(self, word: str) -> None:
        """Write a line to its stdin."""
        if self.running:
            self._process.stdin.write(f"{word}\n".encode())

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)
        await self._gone()

    async def stop(self, timeout_s: float) -> int | None:
        """End it in order, and return its exit code; None when it had to be killed after `timeout_s`."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        return await self.ended(timeout_s)

    async def ended(self, timeout_s: float) -> int | None:
        """Wait until it has ended by itself, and return its exit code; None when it had to be killed."""
        try:
            return await asyncio.wait_for(self._gone(), timeout_s)
        except TimeoutError:
            await self.kill()
            return None

    async def _gone(self) -> int:
        # Read to the end, or the pipe would keep asyncio from seeing that the process has gone.
        await self._process.stdout.read()
        self._process.stdin.close()
        return await self._process.wait()

    @property
    def worker_pid(self) -> int:
        """The process that does the work: its child if it only looks after one, else itself."""
        for entry in os.listdir("/proc"):
            if entry.isdigit() and _fields(int(entry)).get("PPid") == str(self.pid):
                return int(entry)
        return self.pid


def usage(pid: int) -> dict[str, int]:
    """Return how many files and threads a process has, and how many MB of memory; nothing when it has ended."""
    fields = _fields(pid)
    try:
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return {}
    if "VmRSS" not in fields:  # nobody has waited for it yet
        return {}
    return {"files": files, "threads": int(fields["Threads"]), "megabytes": int(fields["VmRSS"].split()[0]) // 1024}


def _fields(pid: int) -> dict[str, str]:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def marked(env: dict[str, str], run: str) -> dict[str, str]:
    """Return the environment with a mark that all processes of this run inherit."""
    return {**env, _MARK: run}


def of_this_run(run: str) -> dict[int, str]:
    """Return number and command line of all processes that bear the mark of this run, wherever they have gone."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environ = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{_MARK}={run}".encode() in environ:
            found[int(entry)] = command[:200]
    return found
