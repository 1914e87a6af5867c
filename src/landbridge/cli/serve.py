"""``landbridge serve``: the functions of a Python file, callable by colleagues."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import sys
import textwrap
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Annotated, Any, TextIO

from cyclopts import Parameter

from ..backend.expose import Exposure, exposure
from ..backend.loading import load
from ..backend.service import Backend
from ..client.access import Access
from ..errors import InvalidName, NothingToServe
from ..hub.serve import access_for_serving, is_own_network
from ..hub.serve import serve as run_backend
from ..names import OWNER_INSTITUTE, Address, check_institute, check_module, parse_address
from ..security import check_pattern
from .console import clip, json_text, safe, say
from .methodhelp import signature_text
from .signals import log_to_stderr, stop_on_signals

__all__ = ["serve"]

_log = logging.getLogger(__name__)
_PACKAGE = str(Path(__file__).resolve().parent.parent)


def serve(
    what: str,
    /,
    *,
    name: Annotated[str, Parameter(name="--as")],
    share: Annotated[tuple[str, ...], Parameter(name="--share")] = (),
    profile: str | None = None,
    json: bool = False,
) -> None:
    """Make the functions of a Python file callable by colleagues, until Ctrl-C.

    Only what the file names is served: the functions in its __all__, or those with @landbridge.method.

    Parameters
    ----------
    what
        A Python file, the folder of a package, or the name of a module that can be imported.
    name
        What it is called in the network: institute/module.
    share
        Who may call it beyond your institute: awi/anna, awi/* or */*. May be given several times.
    profile
        Which network, and as whom; by default the network of this computer.
    json
        Print one line of JSON when it is served.
    """
    address = _address(name)
    patterns = tuple(check_pattern(pattern) for pattern in share)
    log_to_stderr(logging.INFO)
    with _stdout_kept() as stdout:
        exposed = exposure(_loaded(what, address))
        access = access_for_serving(address, profile)
        asyncio.run(_serve(address, exposed, access, patterns, is_own_network(profile), _Announcer(stdout, json)))


def _address(text: str) -> Address:
    address = parse_address(text)
    if address.member is not None:
        raise InvalidName(text, "module", "it names a method, too; write --as institute/module")
    check_institute(address.institute, reserved=address.institute == OWNER_INSTITUTE)
    check_module(address.module)
    return address


@contextlib.contextmanager
def _stdout_kept() -> Iterator[TextIO]:
    """Give stdout for our own lines; what the served code prints meanwhile, in Python or in C, goes to stderr."""
    sys.stdout.flush()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    with os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace", buffering=1) as data:
        os.dup2(2, 1)
        try:
            yield data
        finally:
            sys.stdout.flush()
            os.dup2(data.fileno(), 1)


def _loaded(what: str, address: Address) -> ModuleType:
    try:
        return load(what)
    except NothingToServe:
        raise
    except (Exception, SystemExit) as error:
        # Theirs, not ours: they see it as if they had run their file themselves.
        own = _from_their_code(error.__traceback__)
        say("".join(traceback.format_exception(type(error), error, own)).rstrip())
        said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        raise NothingToServe(f"{address} is not served: {what} ended with {said} while it was loaded.") from None


def _from_their_code(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((_PACKAGE, "<frozen importlib")) and Path(file).parent.name != "importlib":
            break
        trace = trace.tb_next
    return trace


@dataclass(frozen=True)
class _Announcer:
    """Where the one line, or text, goes that says that the module is served."""

    stdout: TextIO
    json: bool

    def announce(self, backend: Backend, exposed: Exposure, patterns: tuple[str, ...], owner: bool) -> None:
        text = (
            json_text(_facts(backend, exposed, patterns)) if self.json else _report(backend, exposed, patterns, owner)
        )
        print(text, file=self.stdout, flush=True)


async def _serve(
    address: Address, exposed: Exposure, access: Access, patterns: tuple[str, ...], owner: bool, announcer: _Announcer
) -> None:
    stop = stop_on_signals()

    def ready(backend: Backend) -> None:
        announcer.announce(backend, exposed, patterns, owner)
        for notice in exposed.notices:
            say(f"Note: {notice}.")

    def lost(text: str) -> None:
        _log.warning("%s: %s", address, text)

    await run_backend(address, exposed, access, share=patterns, network_owner=owner, ready=ready, stop=stop, lost=lost)
    say(f"{address} is no longer served.")


def _facts(backend: Backend, exposed: Exposure, patterns: tuple[str, ...]) -> dict[str, Any]:
    return {
        "event": "serving",
        "module": backend.name,
        "instance": backend.instance,
        "methods": {name: {"share": [*patterns, *exposed.methods[name].share]} for name in backend.spec.methods},
        "notices": list(exposed.notices),
    }


def _report(backend: Backend, exposed: Exposure, patterns: tuple[str, ...], owner: bool) -> str:
    institute = backend.address.institute
    lines = [f"{backend.name} is served. Ctrl-C ends it."]
    for name, method in backend.spec.methods.items():
        lines.append(safe(textwrap.indent(f"{name}{signature_text(method)}", "  ")))
        if method.summary:
            lines.append(f"      {clip(safe(method.summary), 100)}")
        if exposed.methods[name].share:
            lines.append(f"      also shared with {', '.join(exposed.methods[name].share)}")
    whom = [f"everybody of {institute}", *(["you, the owner of this network"] if owner else []), *patterns]
    lines.append(f"Shared with {', '.join(whom)}.")
    lines.append(f"How to call it: landbridge describe {backend.name}")
    return "\n".join(lines)
