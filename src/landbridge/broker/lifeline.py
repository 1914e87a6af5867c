"""Child processes that end when their parent does, even when the parent is killed.

On Linux the kernel does it (PR_SET_PDEATHSIG). Elsewhere a watchdog, a second small process, notices that the pipe from
the parent closed, and ends the child.

Two traps are handled here. The kernel's promise is tied to the *thread* that made the child: it must live as long as
the child, so the child is made by a thread of its own. And the request must be made after the fork, where Python code
is not safe in a program with threads: a fresh interpreter makes it and then becomes the child by exec.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

__all__ = ["start_bound"]

# 1 is PR_SET_PDEATHSIG, 15 SIGTERM. The parent may have died before the request: then nobody will send the signal.
_BIND_AND_EXEC = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

# A byte means that the child has ended by itself; its number may then belong to another process, so nothing is ended.
_WATCH = """
import os, signal, sys
if not sys.stdin.buffer.read(1):
    try:
        os.kill(int(sys.argv[1]), signal.SIGTERM)
    except OSError:
        pass
"""


def start_bound(command: Sequence[str], *, directory: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `command` so that it ends with this process, and return it.

    Parameters
    ----------
    command : sequence of str
        Absolute path of the program, and its arguments.
    directory : Path
        Where it runs. Files it makes are its owner's only.
    output : file
        Receives what it prints.

    Raises
    ------
    OSError
        When it cannot be started.
    """
    started: list[subprocess.Popen[bytes]] = []
    failed: list[OSError] = []
    settled = threading.Event()

    def keep() -> None:
        try:
            process, watchdog = _start(command, directory, output)
        except OSError as error:
            failed.append(error)
            settled.set()
            return
        started.append(process)
        settled.set()
        process.wait()
        if watchdog is not None:
            watchdog.communicate(b".")

    threading.Thread(target=keep, name="landbridge-lifeline", daemon=True).start()
    settled.wait()
    if failed:
        raise failed[0]
    return started[0]


def _start(
    command: Sequence[str], directory: Path, output: IO[bytes]
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes] | None]:
    """Return the child, and what watches over it where the kernel does not; both run."""
    python = [sys.executable, "-I", "-S", "-c"]
    if _kernel_watches():
        return _run([*python, _BIND_AND_EXEC, str(os.getpid()), *command], directory, output), None
    process = _run(command, directory, output)
    try:
        watchdog = subprocess.Popen(  # noqa: S603 - this very interpreter
            [*python, _WATCH, str(process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        process.kill()
        process.wait()
        raise
    return process, watchdog


def _kernel_watches() -> bool:
    return sys.platform == "linux"


def _run(command: Sequence[str], directory: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the program is one that find_server chose
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        umask=0o077 if sys.platform != "win32" else -1,
        # Ctrl-C in a terminal goes to the whole group; whoever owns the child decides when it ends.
        start_new_session=True,
    )
