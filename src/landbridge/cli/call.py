"""``landbridge call``: one call, and its value on stdout or in a file.

Its words are read here rather than by the command line's library: what stands behind the address belongs to a method
that only the network knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import wire
from ..client.call import Call
from ..client.link import Link
from ..client.loop import io_loop
from ..client.options import Options
from ..contract import MethodSpec, ModuleSpec, rebuild_types
from ..names import Address, parse_address
from .console import say, show, show_json
from .ending import UsageError
from .input import read_arguments
from .methodhelp import call_help, method_help
from .network import connected, described, method_of
from .output import check_output, show_value, write_value

__all__ = ["call"]


def call(*words: str) -> None:
    """Call a method and print its value, or write it to a file.

    Parameters
    ----------
    *words
        The address, the arguments of the method and the options of this command.
    """
    asked = _Asked.read(words)
    if asked.address is None:
        if not asked.help:
            raise UsageError("which method? landbridge call institute/module.method …\nSee: landbridge call --help")
        show(call_help())
        return
    address = parse_address(asked.address)
    if address.member is None:
        raise UsageError(f"{address} is a module. Which of its methods? landbridge describe {address}")
    if asked.output is not None:
        check_output(asked.output)
    with connected(asked.profile) as link:
        spec = described(link, address)
        method = method_of(spec, address.member, f"{link.access.institute}/{link.access.person}")
        if asked.help:
            show(method_help(spec, method))
        else:
            _run(link, address, spec, method, asked)


@dataclass
class _Asked:
    """The options of ``landbridge call`` itself, and the words that belong to the method."""

    address: str | None = None
    words: list[str] = field(default_factory=list)
    output: Path | None = None
    profile: str | None = None
    timeout_s: float | None = None
    json: bool = False
    help: bool = False

    @classmethod
    def read(cls, words: Sequence[str]) -> _Asked:
        asked = cls()
        ahead = list(reversed(words))
        while ahead:
            word = ahead.pop()
            if word == "--":  # what follows is the method's, whatever it is called
                asked.words += reversed(ahead)
                break
            name, equals, value = word.partition("=")
            if word in ("--help", "-h"):
                asked.help = True
            elif word == "--json":
                asked.json = True
            elif name in ("--output", "-o", "--profile", "--timeout-s"):
                if not equals and not ahead:
                    raise UsageError(f"{name} needs a value. See: landbridge call --help")
                asked._set(name, value if equals else ahead.pop())
            elif asked.address is None:
                if word.startswith("-"):
                    raise UsageError(f"the method comes before its arguments: landbridge call ADDRESS {word} …")
                asked.address = word
            else:
                asked.words.append(word)
        if asked.address is None and asked.words:
            asked.address = asked.words.pop(0)
        return asked

    def _set(self, name: str, value: str) -> None:
        if name == "--profile":
            self.profile = value
        elif name == "--timeout-s":
            try:
                self.timeout_s = float(value)
            except ValueError:
                self.timeout_s = math.nan
            if not 0 < self.timeout_s < math.inf:
                raise UsageError(f"--timeout-s {value!r}: must be a number of seconds, more than 0.")
        else:
            self.output = Path(value)


def _run(link: Link, address: Address, spec: ModuleSpec, method: MethodSpec, asked: _Asked) -> None:
    if asked.output is not None:
        check_output(asked.output, method)
    arguments = read_arguments(method, spec.types, asked.words, str(address))
    started = _started(link, address, method, rebuild_types(spec), arguments, asked.timeout_s)
    try:
        if method.streams and asked.output is None:
            for item in started:
                show_value(item, as_json=asked.json)
            return
        value = list(started) if method.streams else started.result()
    except KeyboardInterrupt:
        say(_what_became_of(started))
        raise
    if asked.output is None:
        show_value(value, as_json=asked.json)
        return
    size_bytes = write_value(value, asked.output)
    say(f"Wrote {asked.output} ({size_bytes:,} bytes).")
    if asked.json:
        show_json({"file": str(asked.output), "size_bytes": size_bytes})


def _started(
    link: Link, address: Address, method: MethodSpec, types: dict[str, type], arguments: dict[str, Any],
    timeout_s: float | None,
) -> Call:  # fmt: skip
    parts = wire.encode(arguments)
    started = Call(str(address), method, types, link)
    io_loop().call_soon_threadsafe(started.begin, link, address, parts, wire.size_bytes(parts), Options(timeout_s))
    return started


def _what_became_of(started: Call) -> str:
    say(f"Stopping {started.target} …")
    return {
        "stopped": "The remote work has stopped.",
        "stopping": "The remote work was asked to stop, and has not answered yet.",
        "running": "Its code runs on at the backend, in a thread that cannot be interrupted.",
        "finished": "It had just ended.",
    }[started.cancel()]
