"""``landbridge top``: one table, one JSON object, and a screen of its own that leaves the terminal as it was."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import landbridge as lb
from network import COMMAND

from .conftest import error_code

SERVED = """
import asyncio

__all__ = ["nap"]


async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)
"""


@pytest.fixture(scope="module")
def busy(network):
    """Two backends of one module, with calls that run."""
    backends = [network.serve(SERVED, "awi/busy") for _ in range(2)]
    with lb.connect() as net:
        calls = [net.awi.busy.nap.start(600.0) for _ in range(6)]
        yield
        for call in calls:
            call.cancel()
    for backend in backends:
        backend.stop()


def test_json_has_every_module_that_shares_something(network, busy):
    done = network.run("top", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["module"]: entry for entry in json.loads(done.stdout)["modules"]}
    assert {"awi/busy", "geomar/ocean", "evil/trap"} <= set(found)
    assert not any(name.startswith("lb/") for name in found)
    assert (found["awi/busy"]["backends"], found["awi/busy"]["running"], found["awi/busy"]["waiting"]) == (2, 6, 0)
    assert next(iter(found)) == "awi/busy"
    assert found["geomar/ocean"]["p50_s"] is None


def test_what_is_not_shared_is_not_shown(network, busy):
    found = json.loads(network.run("top", "--json", "--profile", "evil/mallory").stdout)
    assert [entry["module"] for entry in found["modules"]] == ["evil/trap"]
    assert found["not_shared"] >= 2


@pytest.mark.parametrize("options", [["--once"], []])
def test_without_a_terminal_it_is_one_table(network, busy, options):
    done = network.run("top", *options)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["module", "backends", "calls/s"]
    assert lines[1].split()[:4] == ["awi/busy", "2", "0.0", "6"]
    assert "\x1b" not in done.stdout


def test_without_a_network_it_says_how_to_start_one(network, empty_env):
    done = network.run("top", "--json", **empty_env)
    assert (done.returncode, error_code(done.stdout)) == (5, "not_configured")


class Terminal:
    """A terminal of 100 columns and 30 rows, in which `top` runs."""

    def __init__(self, env):
        self.ours, self.theirs = pty.openpty()
        self.open = [self.theirs, self.ours]
        self.resize(100, 30)
        self.before = termios.tcgetattr(self.theirs)
        self.seen = ""
        self.process = subprocess.Popen(
            [*COMMAND, "top"], env=env, stdin=self.theirs, stdout=self.theirs, stderr=subprocess.PIPE, text=True
        )

    def resize(self, columns, rows):
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, text):
        """Wait until `text` has been drawn; return what was drawn before it since the last time."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.ours], [], [], 1)[0]:
                self.seen += os.read(self.ours, 65536).decode()
        before, _, self.seen = self.seen.partition(text)
        return before

    def end(self):
        code = self.process.wait(30)
        self.wait_for("\x1b[?25h\x1b[?1049l")
        assert self.process.stderr.read() == ""
        assert termios.tcgetattr(self.theirs) == self.before
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        self.hang_up()

    def hang_up(self):
        while self.open:
            os.close(self.open.pop())


@pytest.fixture
def terminal(network, busy):
    env = {name: value for name, value in network.env.items() if name not in ("COLUMNS", "LINES")}
    terminal = Terminal(env | {"TERM": "xterm"})
    yield terminal
    terminal.close()


def test_it_draws_again_and_again_until_q(terminal):
    terminal.wait_for("\x1b[?1049h\x1b[?25l")
    for _ in range(2):
        terminal.wait_for("awi/busy")
    os.write(terminal.ours, b"xq")
    assert terminal.end() == 0


def test_lines_are_cut_to_the_terminal_whenever_that_is_resized(terminal):
    terminal.wait_for("out MB/s")
    terminal.resize(20, 4)
    terminal.process.send_signal(signal.SIGWINCH)
    fits, deadline = False, time.monotonic() + 60
    while not fits:  # what had been drawn before does not
        assert time.monotonic() < deadline
        terminal.wait_for("\x1b[H")
        lines = terminal.wait_for("\x1b[K\x1b[J").split("\x1b[K\r\n")
        fits = len(lines) == 4 and max(map(len, lines)) == 20
    os.write(terminal.ours, b"q")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(terminal, number):
    terminal.wait_for("module")
    terminal.process.send_signal(number)
    assert terminal.end() == 0


def test_a_terminal_that_has_gone_ends_it_even_without_a_signal(terminal):
    terminal.wait_for("module")
    terminal.hang_up()
    assert terminal.process.wait(30) == 141
    assert terminal.process.stderr.read() == ""
