"""A thousand cancelled calls of a method that computes for ever, one after the other: nothing of them is left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import landbridge as lb
from network import Network
from procfs import children_of

BURN = """
import landbridge as lb

@lb.method(process=True)
def burn() -> None:
    number = 0
    while True:
        number += 1

@lb.method(process=True)
def where() -> int:
    import os
    return os.getpid()

@lb.method(process=True)
def meet(here: str, there: str) -> None:
    import pathlib, time
    pathlib.Path(here).touch()
    while not pathlib.Path(there).exists():
        time.sleep(0.01)
"""


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_thousand_cancels_leave_nothing_behind(network: Network, tmp_path: Path) -> None:
    backend = network.serve(BURN, "awi/burning", "--workers", "2")
    with lb.connect() as net:
        burn, where = net.awi.burning.burn, net.awi.burning.where
        assert where() in children_of(backend.pid)
        files = open_files(backend.pid)
        late = 0
        for number in range(1000):
            call = burn.start()
            if number % 2:
                time.sleep(0.003)  # so that some are cancelled while they run, and some before
            state = call.cancel()
            assert state in ("stopped", "stopping"), number
            late += state == "stopping"  # after more than a second, as a machine with much else to do may have it
        assert late < 20
        assert where() in children_of(backend.pid)
        # Two can only meet where neither worker is still busy with what was cancelled.
        one, other = str(tmp_path / "one"), str(tmp_path / "other")
        meeting = [net.awi.burning.meet.start(one, other), net.awi.burning.meet.start(other, one)]
        for call in meeting:
            call.result(timeout=60)
        # One that had to be killed may still be about to go. The second worker's socket, if there is one now, is new.
        deadline = time.monotonic() + 30
        while len(children_of(backend.pid)) > 2 or open_files(backend.pid) > files + 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
