"""A real network for tests: `landbridge up`, backends and callers as real processes, all ended with the context."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-W", "error", "-m", "landbridge"]


class Process:
    """A `landbridge` process; `ready` is the line of JSON it printed when it was."""

    def __init__(self, arguments: list[str], env: dict[str, str]) -> None:
        self._popen = subprocess.Popen(
            [*COMMAND, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = self._popen.stdout.readline()
        if not line:
            self._reader.join(5)
            raise RuntimeError(f"{arguments} ended with {self._popen.wait()}:\n{self.stderr}")
        self.ready: dict[str, Any] = json.loads(line)
        if "event" not in self.ready:
            self._popen.wait(20)
            raise RuntimeError(f"{arguments} ended with {self.ready}\n{self.stderr}")
        # Of `serve`, what does the work is a child of the process that was started.
        self.pid: int = self.ready["pid"] if self.ready["event"] == "serving" else self._popen.pid

    def _read(self) -> None:
        for line in self._popen.stderr:
            self._said.append(line)

    def next_line(self) -> dict[str, Any]:
        """Wait for the next line of JSON that it prints, and return it."""
        return json.loads(self._popen.stdout.readline())

    def wait(self, timeout_s: float = 20) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        code = self._popen.wait(timeout_s)
        self._reader.join(5)
        return code

    def hang_up(self) -> None:
        """Read no more of what it prints."""
        self._popen.stdout.close()

    @property
    def stderr(self) -> str:
        """What it has said so far."""
        return "".join(self._said)

    @property
    def running(self) -> bool:
        return self._popen.poll() is None and Path(f"/proc/{self.pid}").exists()

    def signal(self, number: int) -> None:
        """Send a signal to the command, or to what does its work when that is to be frozen or thawed."""
        if number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(self.pid, number)
        else:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self._popen.kill()
        self._popen.wait()

    def end(self) -> None:
        """End it as who is in a hurry does: in order, and with a second Ctrl-C when calls still run."""
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # its backend may just have died
                self.signal(signal.SIGCONT)
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(1.5)
            except subprocess.TimeoutExpired:
                self._popen.send_signal(signal.SIGINT)
        self.stop()

    def stop(self, timeout_s: float = 15) -> int:
        """End it in order, and return its exit code."""
        if self.running:
            self.signal(signal.SIGCONT)
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            code = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            code = self._popen.wait()
        self._reader.join(5)
        self._popen.stdout.close()
        self._popen.stderr.close()
        return code


class Network:
    """A network of its own, in a folder of its own."""

    def __init__(self, folder: Path, *options: str, **env: str) -> None:
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LANDBRIDGE_")}
        self.env = {
            **inherited,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PYTHONFAULTHANDLER": "1",
            **env,
        }
        self._stack = contextlib.ExitStack()
        self.up = self.start("up", "--json", *options)
        self._count = 0

    def start(self, *arguments: str, **env: str) -> Process:
        """Start a `landbridge` command that goes on, and wait until it is ready."""
        process = Process(list(arguments), {**self.env, **env})
        self._stack.callback(process.end)
        return process

    def serve(self, source: str, address: str, *options: str, **env: str) -> Process:
        """Serve a module with this source."""
        self._count += 1
        file = self.folder / f"served_{self._count}" / f"{address.partition('/')[2]}.py"
        file.parent.mkdir()
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        return self.start("serve", str(file), "--as", address, "--json", *options, **env)

    def run(self, *arguments: str, timeout_s: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a `landbridge` command to its end."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def python(self, source: str, timeout_s: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a Python script of a caller to its end."""
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(source)],
            env={**self.env, **env}, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def kill_broker(self) -> None:
        """End the nats-server as a crash would; `landbridge up` starts it again."""
        record = json.loads((self.folder / "state" / "landbridge" / "local" / "broker.json").read_text())
        os.kill(record["pid"], signal.SIGKILL)

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def running_network(folder: Path, *options: str, **env: str) -> Iterator[Network]:
    """Give a network whose settings also hold for this process while the context is open.

    `options` are those of `landbridge up`; `env` holds for all commands.
    """
    network = Network(folder, *options, **env)
    names = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", *env)
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: network.env[name] for name in names})
    try:
        yield network
    finally:
        _forget_default_networks()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        network.close()


def _forget_default_networks() -> None:
    """Close what `lb.open` and imports have connected to: who comes next means another network."""
    import landbridge

    for network in landbridge._defaults.values():
        network.close()
    landbridge._defaults.clear()
