"""Several computers for tests: folders of their own, which share nothing but the broker."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from network import COMMAND, Process


class Computer:
    """One user of one computer."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LANDBRIDGE_")}
        self.env = {
            **inherited,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PYTHONFAULTHANDLER": "1",
        }

    @property
    def state(self) -> Path:
        return self.folder / "state" / "landbridge"

    @property
    def profiles(self) -> Path:
        return self.folder / "config" / "landbridge" / "profiles"

    def start(self, *words: str, **env: str) -> Process:
        """Start a command that goes on, and wait until it is ready."""
        process = Process(list(words), {**self.env, **env})
        self._stack.callback(process.end)
        return process

    def serve(self, source: str, address: str, *options: str, **env: str) -> Process:
        """Serve a module with this source."""
        file = self.files / f"{address.partition('/')[2]}.py"
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        return self.start("serve", str(file), "--as", address, "--json", *options, **env)

    def run(self, *words: str, given: str = "", code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; it must end with `code`."""
        ended = subprocess.run(
            [*COMMAND, *words],
            env={**self.env, **env}, input=given, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert code is None or ended.returncode == code, f"{words} ended with {ended.returncode}:\n{ended.stderr}"
        return ended

    def json(self, *words: str, **env: str) -> Any:
        """Run a command, and return the JSON that it prints."""
        return json.loads(self.run(*words, "--json", **env).stdout)

    def python(self, source: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a Python script to its end."""
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(source)],
            env={**self.env, **env}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


class Site:
    """A network with an operator; institutes join it, and persons them, each from a computer of its own."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, *options: str) -> None:
        self._folder, self._stack = folder, stack
        self._issuers: dict[str, Process] = {}
        self.operator = self.computer("operator")
        self.up = self.operator.start("up", "--network", "Ocean Net", "--json", *options)

    def computer(self, name: str) -> Computer:
        return Computer(self._folder / name, self._stack)

    def institute(self, name: str, *options: str, admit: bool = True) -> Computer:
        """Return the computer of an institute that has joined."""
        computer = self.computer(name)
        invitation = self.operator.json("invite", "institute", name, *options)["invitation"]
        computer.run("join", given=invitation)
        if admit:
            self._issuers[name] = computer.start("admit", "--json")
        return computer

    def issuer(self, name: str) -> Process:
        return self._issuers[name]

    def person(self, institute: Computer, name: str, *options: str) -> Computer:
        """Return the computer of a person who has joined."""
        computer = self.computer(f"{institute.folder.name}-{name}")
        invitation = institute.json("invite", "person", name, *options)["invitation"]
        computer.run("join", given=invitation)
        return computer


@contextlib.contextmanager
def running_site(folder: Path, *options: str) -> Iterator[Site]:
    """Give a network with an operator, whose `up` has `options`; all that was started is ended with the context."""
    with contextlib.ExitStack() as stack:
        yield Site(folder, stack, *options)
