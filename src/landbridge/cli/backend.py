"""The process that ``landbridge serve`` supervises: loads a file, serves what it exposes, and tells how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import signal
import socket
import sys
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, TextIO

from ..backend.expose import Exposure, exposure
from ..backend.loading import load
from ..backend.logs import CallFilter
from ..backend.service import Backend
from ..broker import SharedLoop
from ..broker.events import refuses_credentials
from ..datasets.serving import file_exposure, names_data
from ..errors import BrokerUnreachable, InvalidName, NothingToServe, PermissionDenied
from ..hub.serve import access_for_serving, is_own_network
from ..hub.serve import serve as run_backend
from ..hub.supervised import Line
from ..names import OWNER_INSTITUTE, Address, check_institute, check_module, parse_address
from ..security import check_pattern
from ..settings import profiles
from .console import clip, json_text, safe, say
from .ending import run_command
from .keeping import keeping_for
from .logs import LogFormat, log_to_stderr
from .methodhelp import signature_text

__all__ = ["main"]

_log = logging.getLogger(__name__)
_WHY = {"restarted": "", "reloaded": ", as it is now"}
_PACKAGE = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True)
class _Order:
    """What is to be served, as whom, and what is announced once it is."""

    what: str
    name: str
    share: Sequence[str]
    onward: Sequence[str]
    profile: str | None
    workers: int | None
    json: bool
    metrics: int | None
    log_format: LogFormat
    log_level: str
    instance: str
    event: str
    grace_s: float


def main(descriptor: int, supervisor: int, **order: Any) -> None:
    """Serve until the supervisor says to stop, and end the process with the exit code of the command.

    Parameters
    ----------
    descriptor : int
        Number of the line to the supervisor.
    supervisor : int
        Its process.
    order
        What ``landbridge serve`` was given, the ``instance`` to be, the ``event`` to announce, and in ``grace_s`` how
        long calls may go on when it is told to stop.
    """
    line = Line(descriptor, supervisor)
    line.end_with_supervisor()
    given = _Order(**order)
    sys.exit(run_command(lambda: _command(given, line), given.json))


def _command(order: _Order, line: Line) -> int:
    try:
        _load_and_serve(order, line)
    except BaseException as error:
        line.failed(for_good=_is_for_good(error, line.has_served))
        raise
    return 0


def _is_for_good(error: BaseException, has_served: bool) -> bool:
    """Whether it is of no use to start again: what may not serve will not, and who does not listen will not."""
    if isinstance(error, BrokerUnreachable):
        # A connection that was there is kept up until the broker refuses it for good.
        return has_served or refuses_credentials(str(error))
    return isinstance(error, PermissionDenied | BrokenPipeError)


def _load_and_serve(order: _Order, line: Line) -> None:
    address = _address(order.name)
    patterns = tuple(check_pattern(pattern) for pattern in order.share)
    level = logging.getLevelNamesMapping()[order.log_level.upper()]
    facts = {"module": order.name, "instance": order.instance}
    log_to_stderr(level, order.log_format, facts, CallFilter())
    metrics = _handed_down(order.metrics)
    with _stdout_kept() as stdout:
        exposed, file = _exposed(order.what, address)
        access = access_for_serving(address, order.profile)
        _tell_of_other_network(address, order)
        owner = is_own_network(order.profile)
        announcer = _Announcer(stdout, order, exposed, patterns, owner, _url(metrics))

        async def serve() -> None:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, stop.set)

            def ready(backend: Backend) -> None:
                # Told before it is shown: who has seen it and sends a signal means a backend that serves.
                line.serving(file, lambda: loop.call_soon_threadsafe(stop.set))
                announcer.announce(backend)

            await run_backend(
                address, exposed, access,
                share=patterns,
                onward=tuple(check_pattern(pattern) for pattern in order.onward),
                network_owner=owner,
                instance=order.instance,
                workers=order.workers,
                grace_s=order.grace_s,
                keeping=keeping_for(order.name, order.instance, access),
                metrics=metrics,
                folder=folder_of(order.what),
                ready=ready,
                stop=stop,
                lost=lambda text: _log.warning("%s: %s", address, text),
            )  # fmt: skip

        # Elsewhere others cannot tell a loop that waits what to wait for, too.
        with asyncio.Runner(loop_factory=SharedLoop if os.name == "posix" else None) as runner:
            runner.run(serve())


def _tell_of_other_network(address: Address, order: _Order) -> None:
    """Say it when a module goes to this computer's own network, and its institute has joined another one from here."""
    if is_own_network(order.profile) and order.event == "serving" and address.institute in profiles():
        _log.warning(
            "%s is served in the network of this computer, where others do not see it. In the one that you have joined "
            "as %s: landbridge serve … --profile %s", address, address.institute, address.institute,
        )  # fmt: skip


def _exposed(what: str, address: Address) -> tuple[Exposure, str | None]:
    """Return what is to be served, and the file that has its code."""
    if names_data(what):
        return file_exposure(what), None
    module = _loaded(what, address)
    return exposure(module), module.__file__


def folder_of(what: str) -> Path | None:
    """Return the folder in which a file, package or pattern lies that is served; None of what Python finds itself."""
    path = Path(what).absolute()
    if not names_data(what) and not path.exists():
        return None
    # Of a pattern, the folder before anything in it stands for several.
    named = [place for place, part in enumerate(path.parts) if any(sign in part for sign in "*?[")]
    return Path(*path.parts[: named[0]]) if named else path.parent


def _handed_down(descriptor: int | None) -> socket.socket | None:
    if descriptor is None:
        return None
    listening = socket.socket(fileno=descriptor)
    listening.set_inheritable(False)  # what the served code starts is no part of this
    return listening


def _url(metrics: socket.socket | None) -> str:
    return "" if metrics is None else f"http://127.0.0.1:{metrics.getsockname()[1]}/metrics"


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
    """Says on stdout, where nothing else comes, that the module is served, or is again."""

    stdout: TextIO
    order: _Order
    exposed: Exposure
    patterns: tuple[str, ...]
    owner: bool
    metrics_url: str

    def announce(self, backend: Backend) -> None:
        first = self.order.event == "serving"
        if self.order.json:
            text = json_text(self._facts(backend))
        elif first:
            text = _report(backend, self.exposed, self.patterns, self.owner)
        else:
            text = f"{backend.name} is served again{_WHY[self.order.event]}."
        try:
            print(text, file=self.stdout, flush=True)
        except BrokenPipeError:
            # Who has gone before it was served cannot know that it is; who has heard it may go.
            if first:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
        if first and self.metrics_url:
            self._tell(f"Metrics are at {self.metrics_url}")
        if first or self.order.event == "reloaded":
            for notice in self.exposed.notices:
                self._tell(f"Note: {notice}.")

    def _tell(self, text: str) -> None:
        if self.order.log_format == "json":
            _log.info("%s", text)
        else:
            say(text)

    def _facts(self, backend: Backend) -> dict[str, Any]:
        methods = self.exposed.methods
        return {
            "event": self.order.event,
            "module": backend.name,
            "instance": backend.instance,
            "pid": os.getpid(),
            "methods": {name: {"share": [*self.patterns, *methods[name].share]} for name in backend.spec.methods},
            "datasets": {name: {"share": [*self.patterns, *methods[name].share]} for name in backend.spec.datasets},
            "notices": list(self.exposed.notices),
            **({"metrics": self.metrics_url} if self.metrics_url else {}),
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
        if exposed.methods[name].approve:
            lines.append("      what others get of it waits for you: landbridge approve")
    for name, dataset in backend.spec.datasets.items():
        lines.append(f"  data set {name}" + (f": {clip(safe(dataset.summary), 100)}" if dataset.summary else ""))
        if exposed.methods[name].share:
            lines.append(f"      also shared with {', '.join(exposed.methods[name].share)}")
    whom = [f"everybody of {institute}", *(["you, the owner of this network"] if owner else []), *patterns]
    lines.append(f"Shared with {', '.join(whom)}.")
    if backend.spec.methods or backend.spec.classes:
        lines.append(f"How to call it: landbridge describe {backend.name}")
    for name in backend.spec.datasets:
        address = backend.name if len(backend.spec.datasets) == 1 else f"{backend.name}.{name}"
        lines.append(f'How to read it, in Python: landbridge.open("{address}")')
    return "\n".join(lines)
