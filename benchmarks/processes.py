"""The processes that a benchmark needs, in folders of their own.

All end with the context that started them, and also when the benchmark itself is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
START_WITHIN_S = 60
ANSWER_WITHIN_S = 300
"""A system that hangs must not hang the benchmark."""

_SET_PARENT_DEATH_SIGNAL = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Failed(Exception):
    """A measurement could not be made; the text says why."""


def _end_with(parent: int) -> Callable[[], None] | None:
    """Return what a child calls before it becomes its program, so that the kernel ends it when its parent ends."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def ask() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # it has ended meanwhile: nobody will send the signal
            os._exit(1)

    return ask


class Child:
    """A process that says one line when it is ready and may then be given orders; killed if it stays silent.

    What it says on standard error goes to a file: a full pipe would stop it. Children must be started by the main
    thread: the kernel ends them with the thread that started them.

    Parameters
    ----------
    command : sequence
        Program and arguments.
    folder : Path
        Where it runs.
    env : dict, optional
        Its environment; by default ours.
    ready : str, optional
        What stands in the line that it says when it is ready; None for a process that says nothing.
    """

    def __init__(
        self, command: Sequence[Any], folder: Path, env: dict[str, str] | None = None, *, ready: str | None = "ready"
    ) -> None:
        handle, name = tempfile.mkstemp(suffix=".log", dir=folder)
        self._log = Path(name)
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=handle,
            text=True,
            preexec_fn=_end_with(os.getpid()),  # a plain call into C: safe, although there may be other threads
        )
        os.close(handle)
        self.pid = self.process.pid
        self.ready = ""
        if ready is None:
            return
        line = self._line(lambda said: ready in said, START_WITHIN_S)
        if line is None:
            self.stop()
            raise SystemExit(f"A process did not start: {command}\nThe end of what it said:\n{self.said()[-2000:]}")
        self.ready = line

    def stop(self) -> None:
        """End the process, by force if it does not go by itself."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # an order that was never read is still in the pipe
            self.process.stdin.close()

    def _line(self, wanted: Callable[[str], bool], within_s: float) -> str | None:
        """Return the next line that is wanted; None if the process ended, or was killed for its silence."""
        timer = threading.Timer(within_s, self.process.kill)
        timer.start()
        try:
            return next((line.strip() for line in self.process.stdout if wanted(line)), None)
        finally:
            timer.cancel()

    def said(self) -> str:
        """Return what the process said on standard error."""
        return self._log.read_text(errors="replace")

    def ask(self, within_s: float = ANSWER_WITHIN_S, **order: Any) -> Any:
        """Let the process measure something, and return what it found.

        Raises
        ------
        Failed
            When it could not; the process may have ended.
        """
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed("the caller's process had ended") from None
        line = self._line(lambda said: said.startswith("{"), within_s)
        if line is None:
            raise Failed(f"no answer: the caller ended, or was killed after {within_s:.0f} s of silence")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["value"]


@contextlib.contextmanager
def child(
    command: Sequence[Any], folder: Path, env: dict[str, str] | None = None, *, ready: str | None = "ready"
) -> Iterator[Child]:
    """Run a process for as long as the context."""
    started = Child(command, folder, env, ready=ready)
    try:
        yield started
    finally:
        started.stop()


class Landbridge:
    """A network that runs, and how to run backends and callers of it.

    Attributes
    ----------
    env : dict
        The environment that programs on this network need.
    pids : dict
        Process numbers of the broker and of the backend of ``bench/work``.
    url : str
        Where the broker listens.
    folder : Path
        For what a part needs on disk; gone with the network.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LANDBRIDGE_") or name == "LANDBRIDGE_TEST_DATA"
        }
        self.env = {**inherited, "XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}
        up = self._run("up", "--json")
        self.serve(HERE / "work.py", "bench/work")
        # Asked for: what serves need not be the process that was started, which may only watch over it.
        asked = [sys.executable, "-m", "landbridge", "call", "bench/work.process_number"]
        backend = subprocess.run(asked, env=self.env, check=True, capture_output=True, timeout=START_WITHIN_S)
        said = json.loads(up.ready)
        self.pids = {"backend": int(backend.stdout), "broker": said["pid"]}
        self.url = said["url"]

    def _run(self, *arguments: Any) -> Child:
        command = [sys.executable, "-m", "landbridge", *arguments]
        return self._stack.enter_context(child(command, self.folder, self.env, ready="{"))

    def serve(self, file: Path, address: str) -> Child:
        """Run a backend that everybody may call; what it says when it is ready names the address of its counts."""
        return self._run("serve", file, "--as", address, "--share", "*/*", "--json", "--metrics")

    def caller(
        self, who: str | None = None, *, program: str = "caller.py", options: Sequence[str] = (), url: str = ""
    ) -> Child:
        """Run a process that calls and may be given orders.

        Parameters
        ----------
        who : str, optional
            ``institute/person``; by default the owner of the network.
        program : str, optional
            Which of those in this folder.
        options : sequence of str, optional
            What it is started with.
        url : str, optional
            By which way it goes to the broker; by default straight.
        """
        env = {**self.env, **({"LANDBRIDGE_PROFILE": who} if who else {}), **({"LANDBRIDGE_URL": url} if url else {})}
        return self._stack.enter_context(child([sys.executable, HERE / program, *options], self.folder, env))

    def link(self, delay_s: float, bytes_per_s: float) -> Child:
        """Run a way to the broker on which each byte takes so long, and at most so many pass, each way."""
        command = [sys.executable, HERE / "link.py", self.url, str(delay_s), str(bytes_per_s)]
        return self._stack.enter_context(child(command, self.folder))


@contextlib.contextmanager
def landbridge_network() -> Iterator[Landbridge]:
    """Run a network and one backend of `work.py`."""
    with tempfile.TemporaryDirectory(prefix="landbridge-bench-") as folder, contextlib.ExitStack() as stack:
        yield Landbridge(Path(folder), stack)


class Raw:
    """A bare nats-server, and a backend and a caller on bare nats-py.

    Attributes
    ----------
    url : str
        Where the server listens.
    pids : dict
        Process numbers of the server and the backend.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        from landbridge.broker import find_server

        self._folder = folder
        self._stack = stack
        config = folder / "server.conf"
        config.write_text('listen: "127.0.0.1:-1"\nlog_file: "/dev/stdout"\n')
        server = stack.enter_context(child([find_server(), "-c", config], folder, ready="Listening for client"))
        self.url = f"nats://{server.ready.split()[-1]}"
        backend = stack.enter_context(child([sys.executable, HERE / "raw_backend.py", self.url], folder))
        self.pids = {"backend": backend.pid, "broker": server.pid}

    def caller(self) -> Child:
        """Run a process that calls on bare nats-py and may be given orders."""
        return self._stack.enter_context(child([sys.executable, HERE / "raw_caller.py", self.url], self._folder))


@contextlib.contextmanager
def raw_network() -> Iterator[Raw]:
    """Run a bare nats-server and a bare backend on it."""
    with tempfile.TemporaryDirectory(prefix="raw-bench-") as folder, contextlib.ExitStack() as stack:
        yield Raw(Path(folder), stack)
