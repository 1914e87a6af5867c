"""Pyro5: no broker, the caller connects to the daemon. Arrays travel as bytes, converted by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from peer import ECHOES, FIRST, HERE, System, Work, environment, small_calls
from processes import child

PACKAGES = ("Pyro5==5.17", "msgpack", "numpy")
OURS = "landbridge-blocking"
COMPARED = "pyro5"


def works(calls: int) -> list[Work]:
    """Return what is measured."""
    return [*small_calls({"plain function": "add"}, calls, calls * 15), *ECHOES, FIRST]


@contextlib.contextmanager
def systems(folder: Path) -> Iterator[dict[str, System]]:
    """Run a daemon."""
    python = environment("pyro5", PACKAGES)
    with child([python, "-P", HERE / "pyro5_daemon.py"], folder) as daemon:
        uri = daemon.ready.split()[1]
        yield {"pyro5": System("pyro5", python, folder, lambda: contextlib.nullcontext([uri]))}
