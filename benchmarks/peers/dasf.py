"""DASF: a Django site as broker, as shipped and tuned, that is with its store off and its limits on sizes lifted.

DASF itself waits for ever when something went wrong; here a caller that stays silent is killed after its patience.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from peer import ECHOES, FIRST, HERE, START_WITHIN_S, System, Work, environment, free_port, small_calls, wait_until
from processes import Failed, child

PACKAGES = (
    "demessaging[backend]==0.6.4", "dasf-broker-django==0.0.1.dev1", "deprogressapi==0.4.3",
    "daphne", "djangorestframework", "numpy", "xarray", "scipy",
)  # fmt: skip
OURS = "landbridge-blocking"
COMPARED = "dasf tuned"
# The receiver of a large text does not answer pings while it checks it, which takes it tens of seconds.
TUNED = ("--ping-timeout", "3600", "--websocket-max-message-size", "0", "--websocket-max-frame-size", "0")
TUNED_BACKEND = ("--max_payload_size", str(2**33))
_CALLS = 60
"""Small calls for one figure: each takes tens of milliseconds."""


def works(calls: int) -> list[Work]:
    """Return what is measured."""
    return [*small_calls({"plain function": "add"}, min(calls, _CALLS), min(calls * 15, 4 * _CALLS)), *ECHOES, FIRST]


@contextlib.contextmanager
def systems(folder: Path) -> Iterator[dict[str, System]]:
    """Run two brokers, each with a backend."""
    python = environment("dasf", PACKAGES)
    with contextlib.ExitStack() as stack:
        found = {}
        for name, store, options, backend, patience_s in (
            ("dasf tuned", "disabled", TUNED, TUNED_BACKEND, 600.0),
            ("dasf as shipped", "cache", (), (), 60.0),
        ):
            own = folder / name.replace(" ", "-")
            own.mkdir()
            inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DE_", "DASF_"))}
            env = {
                **inherited,
                "PYTHONPATH": str(HERE / "dasf_site"), "DJANGO_SETTINGS_MODULE": "settings",
                "DASF_FOLDER": str(own), "DASF_STORE": store, "DE_LOGGING_LEVEL": "40",
            }  # fmt: skip
            stack.enter_context(_broker_and_backend(python, own, env, options, backend))
            found[name] = System("dasf", python, own, _address(own), patience_s, env)
            _wait_for_an_answer(found[name])
        yield found


def _address(folder: Path) -> Callable[[], contextlib.AbstractContextManager[list[str]]]:
    return lambda: contextlib.nullcontext([str(folder)])


@contextlib.contextmanager
def _broker_and_backend(
    python: Path, folder: Path, env: dict[str, str], options: tuple[str, ...], backend_options: tuple[str, ...]
) -> Iterator[None]:
    """Run both, and make the module that callers import."""

    def run(*command: str) -> str:
        done = subprocess.run([python, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Failed(f"DASF: {' '.join(command[:3])} failed: {done.stderr.strip()[-1000:]}")
        return done.stdout

    run("-m", "django", "migrate")
    run("-m", "django", "dasf_topic", "-n", "bench", "--anonymous")
    port = free_port()
    daphne = [python, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", port, *options, "asgi:application"]
    backend = [str(HERE / "dasf_backend.py"), "--websocket-url", f"ws://127.0.0.1:{port}/ws/"]
    with child(daphne, folder, env, ready=None) as broker:
        wait_until(lambda: _listens(port), broker, "DASF's broker")
        (folder / "bench_api.py").write_text(run(*backend, "generate"))
        with child([python, *backend, *backend_options, "listen"], folder, env, ready=None):
            yield


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _wait_for_an_answer(system: System) -> None:
    # A backend does not say when it is ready, and a call made before is never answered.
    for _ in range(4):
        outcome = system.measure(FIRST)
        if "value" in outcome:
            return
    raise Failed(f"DASF's backend never answered within {START_WITHIN_S} s: {outcome['error']}")
