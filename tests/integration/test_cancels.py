"""A thousand cancelled calls of a method that computes for ever, one after the other: nothing of them is left."""

from __future__ import annotations

import os
import time

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
"""


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_thousand_cancels_leave_nothing_behind(network: Network) -> None:
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
        # One that had to be killed may still be about to go. The second worker's socket, if there is one now, is new.
        deadline = time.monotonic() + 30
        while len(children_of(backend.pid)) > 2 or open_files(backend.pid) > files + 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
