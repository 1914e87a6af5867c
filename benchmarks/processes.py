"""The processes that a benchmark needs, in folders of their own; all end with the context."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent


def start(command: list[str], env: dict[str, str], until: str) -> subprocess.Popen[str]:
    """Start a process and return it once it has printed a line that contains `until`."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    for line in process.stdout:
        if until in line:
            process.first_line = line
            return process
    raise SystemExit(f"{command} ended with {process.wait()} before it said {until!r}")


def stop(process: subprocess.Popen[str]) -> None:
    """End a process, by force if it does not go by itself."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    process.stdin.close()


@contextlib.contextmanager
def landbridge_network() -> Iterator[dict[str, str]]:
    """Run a network and one backend of `work.py`; gives the environment that callers need."""
    with tempfile.TemporaryDirectory(prefix="landbridge-bench-") as folder, contextlib.ExitStack() as stack:
        env = {**os.environ, "XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}
        env.pop("LANDBRIDGE_PROFILE", None)
        env.pop("LANDBRIDGE_URL", None)
        command = [sys.executable, "-m", "landbridge"]
        stack.callback(stop, start([*command, "up", "--json"], env, "{"))
        stack.callback(
            stop, start([*command, "serve", str(HERE / "work.py"), "--as", "bench/work", "--json"], env, "{")
        )
        yield env


@contextlib.contextmanager
def raw_network() -> Iterator[str]:
    """Run a bare nats-server and a bare nats-py backend on it; gives the server's address."""
    from landbridge.broker import find_server

    with tempfile.TemporaryDirectory(prefix="raw-bench-") as folder, contextlib.ExitStack() as stack:
        config = Path(folder) / "server.conf"
        config.write_text(f'listen: "127.0.0.1:-1"\nports_file_dir: "{folder}"\n')
        server = subprocess.Popen([find_server(), "-c", config], stderr=subprocess.DEVNULL)
        stack.callback(lambda: (server.terminate(), server.wait()))
        url = ""
        while not url:
            for file in Path(folder).glob("*.ports"):
                with contextlib.suppress(ValueError, KeyError):
                    url = json.loads(file.read_text())["nats"][0]
        backend = start([sys.executable, str(HERE / "raw_backend.py"), url], dict(os.environ), "ready")
        stack.callback(stop, backend)
        yield url
