"""The processes of Hypha: its environment, servers, services and callers; all end with their context."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import stop

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv-hypha"
PACKAGES = ("hypha==0.21.137", "hypha-rpc==0.21.47", "sqlmodel==0.0.24", "aiobotocore", "numpy")
TUNED = {"HYPHA_WS_MSG_RATE_LIMIT": "1e9", "HYPHA_WS_MSG_BURST_LIMIT": "1000000000"}
# A system that hangs must not hang the benchmark. Hypha's own limit for a call is 30 s.
START_WITHIN_S = 60
ANSWER_WITHIN_S = 120


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def environment() -> Path:
    """Return the Python of Hypha's own virtual environment, which is made if it is missing or half made."""
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / ".ready"
    wanted = "\n".join(PACKAGES)
    if not ready.exists() or ready.read_text() != wanted:
        say(f"installing {', '.join(PACKAGES)}")
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True
        )
        ready.write_text(wanted)
    return python


class Child:
    """A process that is spoken to by lines and that is killed if it stays silent.

    What it says on standard error goes to a file: Hypha warns at length, and a full pipe would stop it.
    """

    def __init__(self, command: list[Any], folder: Path, env: dict[str, str] | None = None) -> None:
        self._log = folder / f"{secrets.token_hex(4)}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def stop(self) -> None:
        """End the process, by force if it does not go by itself."""
        with contextlib.suppress(BrokenPipeError):  # an order that was never read is still in the pipe
            stop(self.process)

    def line(self, start: str, within_s: float) -> str | None:
        """Return the next line that begins with `start`; None if the process ended, or was killed for its silence."""
        timer = threading.Timer(within_s, self.process.kill)
        timer.start()
        try:
            return next((line.strip() for line in self.process.stdout if line.startswith(start)), None)
        finally:
            timer.cancel()

    def ready(self) -> list[str]:
        """Wait until the process says that it is ready; gives the rest of that line."""
        if (line := self.line("ready", START_WITHIN_S)) is None:
            raise SystemExit(f"A process did not start. The end of what it said:\n{self.said()[-2000:]}")
        return line.split()[1:]

    def said(self) -> str:
        """Return what the process said on standard error."""
        return self._log.read_text(errors="replace")

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Let a caller measure something; gives its figure, or how it failed."""
        begin = time.perf_counter()
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"error": "the caller's process had ended", "answers": None, "after_s": 0.0}
        if (line := self.line("{", ANSWER_WITHIN_S)) is None:
            after_s = time.perf_counter() - begin
            return {"error": "the caller hung or ended", "answers": None, "after_s": after_s}
        return json.loads(line)


@contextlib.contextmanager
def child(command: list[Any], folder: Path, env: dict[str, str] | None = None) -> Iterator[Child]:
    """Run a process for as long as the context."""
    started = Child(command, folder, env)
    try:
        yield started
    finally:
        started.stop()


@dataclass(frozen=True)
class Hypha:
    """A Hypha server that runs, and how to run services and callers of it."""

    python: Path
    folder: Path
    url: str
    server: Child

    def cut_off(self) -> int:
        """How many clients the server has disconnected because they sent too many messages."""
        return self.server.said().count("Rate limit exceeded for")

    @contextlib.contextmanager
    def service(self) -> Iterator[str]:
        """Run a service process; gives the id of the service."""
        with child([self.python, "-P", HERE / "hypha_service.py", self.url], self.folder) as service:
            yield service.ready()[0]

    @contextlib.contextmanager
    def caller(self, service: str) -> Iterator[Child]:
        """Run a process that calls the service."""
        with child([self.python, "-P", HERE / "caller.py", "hypha", self.url, service], self.folder) as caller:
            caller.ready()
            yield caller

    def first(self, service: str) -> list[str]:
        """Return the command that makes one call."""
        return [str(self.python), "-P", str(HERE / "hypha_first.py"), self.url, service]


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_ready(url: str) -> bool:
    """Whether the server at this address says that it is ready."""
    try:
        with urllib.request.urlopen(f"{url}/health/readiness", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def hypha_server(python: Path, folder: Path, settings: dict[str, str]) -> Iterator[Hypha]:
    """Run a Hypha server with nothing set but what is given."""
    folder.mkdir()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HYPHA_")}
    env = {**inherited, "HYPHA_JWT_SECRET": secrets.token_hex(16), **settings}
    # -P, and a folder of its own: hypha.py of this folder must not stand in for the package.
    command = [python, "-P", HERE / "hypha_server.py", "--host", "127.0.0.1", "--port", port]
    with child(command, folder, env) as server:
        end = time.monotonic() + START_WITHIN_S
        while not is_ready(url):
            if server.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"Hypha's server did not start. The end of what it said:\n{server.said()[-2000:]}")
            time.sleep(0.1)
        yield Hypha(python, folder, url, server)
