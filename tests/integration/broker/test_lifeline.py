"""A child ends with its parent, whichever thread made it and however the parent ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from landbridge.broker import lifeline

SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]

PARENT = """
import subprocess, sys, threading, pathlib
from landbridge.broker import lifeline
lifeline.sys = type("Sys", (), {{"platform": {platform!r}, "executable": sys.executable}})
def start():
    child.append(lifeline.start_bound({command!r}, directory=pathlib.Path("."), output=sys.stderr.buffer))
child = []
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(child[0].pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def parent(platform: str):
    """Run a process whose thread, already ended, has started a child; gives the process and a handle of the child."""
    code = PARENT.format(platform=platform, command=SLEEPER)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}
    ) as process:
        pid = int(process.stdout.readline())
        handle = os.pidfd_open(pid)
        try:
            yield process, handle
        finally:
            process.kill()
            if not ended(handle, 0):
                os.kill(pid, signal.SIGKILL)
            os.close(handle)


def ended(handle: int, timeout_s: float) -> bool:
    return bool(select.select([handle], [], [], timeout_s)[0])


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes the way Linux offers")


# "other" takes the way of every system but Linux: a watchdog beside the child.
@pytest.mark.parametrize("platform", ["linux", "other"])
def test_a_killed_parent_takes_its_child_along(platform):
    with parent(platform) as (process, handle):
        assert not ended(handle, 0.2)  # the thread that asked for it has ended, the child has not
        process.kill()
        assert ended(handle, 20)


@pytest.mark.parametrize("platform", ["linux", "other"])
def test_a_parent_that_ends_in_order_takes_its_child_along(platform):
    with parent(platform) as (process, handle):
        process.stdin.close()
        assert ended(handle, 20)


def test_a_program_that_cannot_be_started_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with open(os.devnull, "wb") as output, pytest.raises(OSError):
        lifeline.start_bound(SLEEPER, directory=tmp_path, output=output)


def test_a_child_whose_parent_died_before_is_not_started(tmp_path):
    with open(tmp_path / "out", "wb") as output:
        code = [sys.executable, "-I", "-S", "-c", lifeline._BIND_AND_EXEC, "1", "/bin/echo", "started"]
        subprocess.run(code, stdout=output, timeout=20, check=True)
    assert (tmp_path / "out").read_bytes() == b""


def test_the_watchdog_of_a_child_that_ended_by_itself_ends_nobody():
    with subprocess.Popen(SLEEPER) as bystander:
        try:
            watchdog = [sys.executable, "-I", "-S", "-c", lifeline._WATCH, str(bystander.pid)]
            subprocess.run(watchdog, input=b".", timeout=20, check=True)
            assert bystander.poll() is None
        finally:
            bystander.kill()
