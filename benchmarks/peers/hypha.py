"""Hypha: a server in the middle, as shipped and tuned, that is with its limits on messages lifted."""

from __future__ import annotations

import contextlib
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from peer import ECHOES, FIRST, HERE, System, Work, environment, free_port, small_calls, wait_until
from processes import Child, child

PACKAGES = ("hypha==0.21.137", "hypha-rpc==0.21.47", "sqlmodel==0.0.24", "aiobotocore", "numpy")
OURS = "landbridge"
COMPARED = "hypha tuned"
TUNED = {"HYPHA_WS_MSG_RATE_LIMIT": "1e9", "HYPHA_WS_MSG_BURST_LIMIT": "1000000000"}


def works(calls: int) -> list[Work]:
    """Return what is measured."""
    kinds = {"async method": "add_async", "plain function": "add"}
    return [*small_calls(kinds, calls, calls * 15), *ECHOES, FIRST]


@contextlib.contextmanager
def systems(folder: Path) -> Iterator[dict[str, System]]:
    """Run two servers."""
    python = environment("hypha", PACKAGES)
    with contextlib.ExitStack() as stack:
        found = {}
        for name, settings in (("hypha tuned", TUNED), ("hypha as shipped", {})):
            own = folder / name.replace(" ", "-")
            own.mkdir()
            url, server = stack.enter_context(_server(python, own, settings))
            found[name] = System(
                "hypha", python, own, partial(_service, python, own, url), cut_off=partial(_cut_off, server)
            )
        yield found


def _cut_off(server: Child) -> int:
    return server.said().count("Rate limit exceeded for")


@contextlib.contextmanager
def _service(python: Path, folder: Path, url: str) -> Iterator[Sequence[str]]:
    """Run a service process, a new one for each figure: one that was cut off spoils nothing else."""
    with child([python, "-P", HERE / "hypha_service.py", url], folder) as service:
        yield [url, service.ready.split()[1]]


@contextlib.contextmanager
def _server(python: Path, folder: Path, settings: dict[str, str]) -> Iterator[tuple[str, Child]]:
    """Run a server with nothing set but what is given."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HYPHA_")}
    env = {**inherited, "HYPHA_JWT_SECRET": secrets.token_hex(16), **settings}
    command = [python, "-P", HERE / "hypha_server.py", "--host", "127.0.0.1", "--port", port]
    with child(command, folder, env, ready=None) as server:
        wait_until(_answers(f"{url}/health/readiness"), server, "Hypha's server")
        yield url, server


def _answers(url: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False

    return answers
