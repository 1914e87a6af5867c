"""Every error of Landbridge: one root, a closed set of codes, fields for programs and text for people.

::

    LandbridgeError
    ├── InvalidName          invalid_name       (ValueError)       a name that may not be one
    ├── InvalidArguments     invalid_arguments  (ValueError)       arguments that do not fit the signature
    ├── CannotTravel         cannot_travel      (TypeError)        a value that would not arrive exactly
    ├── TooLarge             too_large          (ValueError)       a value or message beyond a limit
    ├── Malformed            malformed          (ValueError)       bytes that break the rules of the wire
    ├── ProtocolMismatch     protocol_mismatch  (RuntimeError)     peers whose versions do not fit
    ├── UnknownModule        unknown_module     (LookupError)      nothing of that name in the network
    ├── UnknownMember        unknown_member     (AttributeError)   no such method in that module
    ├── PermissionDenied     denied             (PermissionError)  not shared with whoever asked
    ├── Busy                 busy               (RuntimeError)     more at a time than a backend takes from one
    ├── ModuleOffline        offline            (ConnectionError)  known, but no backend serves it now
    ├── BrokerUnreachable    unreachable        (ConnectionError)  no broker, or it refused us
    ├── CallLost             lost               (ConnectionError)  silence: the call may have run or not
    ├── CallTimeout          timeout            (TimeoutError)     the time limit of the caller or the owner passed
    ├── CallCancelled        cancelled          (RuntimeError)     ended because somebody cancelled it
    ├── MethodCrashed        crashed            (RuntimeError)     the process that ran the method has ended under it
    ├── ObjectGone           gone               (ReferenceError)   a remote object is no longer there
    ├── IdentityChanged      identity           (PermissionError)  an institute is not the one that was known so far
    ├── DatasetChanged       changed            (RuntimeError)     a data set is no longer the one that was opened
    ├── RemoteError          remote_error       (+ builtin raised) the method raised
    ├── InternalError        internal           (RuntimeError)     a bug at the other side, with incident id
    ├── NothingToServe       nothing_to_serve   (ValueError)       a module that names nothing to expose
    ├── NotConfigured        not_configured     (RuntimeError)     settings or credentials missing or wrong
    ├── BrokerFailed         broker_failed      (RuntimeError)     the embedded broker did not start
    └── MissingExtra         missing_extra      (ImportError)      an optional package is needed

Texts have three parts: what happened (with the value), why, and what to do next. Text from elsewhere passes
`printable` first: no control characters, bounded length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "RAISED_BUILTINS",
    "BrokerFailed",
    "BrokerUnreachable",
    "Busy",
    "CallCancelled",
    "CallLost",
    "CallTimeout",
    "CannotTravel",
    "DatasetChanged",
    "IdentityChanged",
    "InternalError",
    "InvalidArguments",
    "InvalidName",
    "LandbridgeError",
    "Malformed",
    "MethodCrashed",
    "MissingExtra",
    "ModuleOffline",
    "NotConfigured",
    "NothingToServe",
    "ObjectGone",
    "PermissionDenied",
    "Problem",
    "ProtocolMismatch",
    "RemoteError",
    "TooLarge",
    "UnknownMember",
    "UnknownModule",
    "printable",
    "remote_error",
]

# C0 and C1 controls except newline and tab, bidirectional overrides, line/paragraph separators, lone surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: object, limit: int = 2000) -> str:
    r"""Return text from elsewhere made safe to show: control characters replaced, length bounded.

    Newlines and tabs stay; what could move a terminal's cursor, hide text or reorder it becomes ``\ufffd``.

    Examples
    --------
    >>> printable("red \x1b[31malert")
    'red \ufffd[31malert'
    """
    whole = text if isinstance(text, str) else str(text)
    short = whole if len(whole) <= limit else whole[: limit - 1] + "…"
    return _UNPRINTABLE.sub("\ufffd", short)


class LandbridgeError(Exception):
    """Root of every error raised by Landbridge; `code` is one of a closed set of strings.

    Attributes
    ----------
    code : str
        Stable name of the situation, the same in every language.
    """

    code: ClassVar[str] = "error"

    def __str__(self) -> str:
        """Return the whole text, also where a builtin among the bases would show something else (KeyError)."""
        return str(self.args[0]) if self.args else ""

    def _repr_html_(self) -> str:
        """Return the error as notebooks show it: what happened, then why and what to do next."""
        from html import escape  # late: only notebooks need it

        happened, *rest = re.split(r"(?<=[.?:])\s+(?=[A-Z])|\n", printable(str(self), 4000), maxsplit=1)
        return (
            '<div style="border-left: 3px solid #c0392b; padding-left: .7em">'
            f"<b>{escape(type(self).__name__)}</b> <code>{escape(self.code)}</code><br><b>"
            f'{escape(happened)}</b><div style="white-space: pre-wrap">{escape("".join(rest))}</div></div>'
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by class, text and fields, whatever arguments the constructor takes."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[LandbridgeError], args: tuple[Any, ...], fields: dict[str, Any]) -> LandbridgeError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class InvalidName(LandbridgeError, ValueError):
    """A name that may not be one; fields `name`, `what`, `reason`."""

    code = "invalid_name"

    def __init__(self, name: object, what: str, reason: str) -> None:
        self.name, self.what, self.reason = printable(repr(name), 120), what, reason
        super().__init__(f"{self.name} may not name {_an(what)}: {reason}. Choose another name.")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the arguments of a call.

    Attributes
    ----------
    where : str
        Place of the value, as one would write it in Python: ``region.west`` or ``years[3]``.
    message : str
        What is wrong, with the value that was given.
    """

    where: str
    message: str

    def __str__(self) -> str:
        """Return ``where: message``."""
        return f"{self.where}: {self.message}"


class InvalidArguments(LandbridgeError, ValueError):
    """Arguments that do not fit the signature; `problems` lists all of them at once. The function did not run."""

    code = "invalid_arguments"

    def __init__(self, target: str, problems: Iterable[Problem]) -> None:
        self.target, self.problems = target, tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        count = f"{len(self.problems)} problem" + ("" if len(self.problems) == 1 else "s")
        super().__init__(
            f"{target} was not run: {count} with its arguments.{lines}\n"
            f"See its parameters: landbridge describe {target}"
        )


class CannotTravel(LandbridgeError, TypeError):
    """A value that would not arrive exactly, refused before sending; `where` is its place in the structure."""

    code = "cannot_travel"

    def __init__(
        self, where: str, reason: str, advice: str = "Convert it to a type that travels (docs: types)"
    ) -> None:
        self.where, self.reason = where, reason
        super().__init__(f"The value at {where} cannot travel: {reason}. {advice}.")


class TooLarge(LandbridgeError, ValueError):
    """A value or message beyond a limit; fields `size_bytes` and `limit_bytes`."""

    code = "too_large"

    def __init__(self, what: str, size_bytes: int, limit_bytes: int, advice: str) -> None:
        self.size_bytes, self.limit_bytes = size_bytes, limit_bytes
        named = what[:1].lower() + what[1:]
        super().__init__(f"Too large: {named}, {size_bytes:,} bytes; the limit is {limit_bytes:,}. {advice}.")


class Malformed(LandbridgeError, ValueError):
    """Bytes that break the rules of the wire; never the fault of the caller's values."""

    code = "malformed"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"Received bytes that are not a valid Landbridge message: {reason}. "
            "The sender is broken or hostile; report it to whoever runs it."
        )


class ProtocolMismatch(LandbridgeError, RuntimeError):
    """Peers whose protocol versions do not fit; fields `ours` and `theirs`."""

    code = "protocol_mismatch"

    def __init__(self, ours: str, theirs: str) -> None:
        self.ours, self.theirs = ours, theirs
        super().__init__(
            f"This side speaks protocol {ours}, the other side {theirs}; versions one minor step apart work together. "
            "Upgrade the older side: pip install --upgrade landbridge."
        )

    @classmethod
    def of_method(cls, target: str, what: str) -> ProtocolMismatch:
        """Return the error for a method that is no longer what this side knows of it."""
        error = cls.__new__(cls)
        error.ours = error.theirs = ""
        error.args = (f"{target} {what}: a backend of another version serves it. Get the method anew from its module.",)
        return error


class UnknownModule(LandbridgeError, LookupError):
    """No module of that name is known in the network."""

    code = "unknown_module"

    def __init__(self, module: str, suggestion: str | None = None, known: Sequence[str] = ()) -> None:
        self.module, self.suggestion = module, suggestion
        hint = f" Did you mean {suggestion!r}?" if suggestion else ""
        there = f" Known are: {', '.join(known[:8])}." if known and not suggestion else ""
        super().__init__(f"No module {module!r} is known in this network.{hint}{there} See all: landbridge ls")


class UnknownMember(LandbridgeError, AttributeError):
    """The module has no such method, or none that it shows to this caller."""

    code = "unknown_member"

    def __init__(self, module: str, member: str, suggestion: str | None = None) -> None:
        self.module, self.member, self.suggestion = module, member, suggestion
        hint = f" Did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(
            f"Module {module!r} has no method {printable(member, 80)!r}.{hint} "
            f"See its methods: landbridge describe {module}"
        )


class PermissionDenied(LandbridgeError, PermissionError):
    """The owner has not shared this with whoever asked."""

    code = "denied"


class IdentityChanged(LandbridgeError, PermissionError):
    """A module does not prove that it belongs to the institute that is known by this name.

    Parameters
    ----------
    institute, module : str
        The institute, and the module that was asked.
    known : str
        Fingerprint of the root key by which the institute is known here.
    why : str
        What is wrong with the module's proof.
    shown : str
        Fingerprint of the root key that the module proves instead; empty if it proves none.
    """

    code = "identity"

    def __init__(self, institute: str, module: str, known: str, why: str, shown: str = "") -> None:
        self.institute, self.known, self.shown = institute, known, shown
        if shown:
            advice = (
                f"Somebody else may have its name now, or it has joined anew. Ask {institute}, by telephone say, for "
                f"the fingerprint that 'landbridge whoami' shows there, and only if it is {shown}: "
                f"landbridge trust {institute} {shown}"
            )
        else:
            advice = (
                f"It may be served while the issuer of {institute} does not run (landbridge admit), or by somebody who "
                f"has its name. Ask {institute}; if it takes part without keys of its own now: "
                f"landbridge trust {institute} --forget"
            )
        super().__init__(
            f"{module} was not called: {institute} is known here by the root key {known}, and {why}. {advice}"
        )


class Busy(LandbridgeError, RuntimeError):
    """More at a time than a backend takes; what was refused did not run, or its result was dropped.

    Attributes
    ----------
    retry_after_s : float or None
        In how many seconds the backend expects to have room again; calls wait that long and try again by themselves.
    """

    code = "busy"

    def __init__(self, target: str, reason: str, retry_after_s: float | None = None) -> None:
        self.target, self.reason, self.retry_after_s = target, reason, retry_after_s
        when = "Let some of your calls end first, then call again"
        if retry_after_s is not None:
            when = f"Call again in {retry_after_s:g} s"
        super().__init__(f"{target} was refused: {reason}. {when}.")


class ModuleOffline(LandbridgeError, ConnectionError):
    """The module is known, but no backend serves it now."""

    code = "offline"

    def __init__(self, module: str, detail: str = "") -> None:
        self.module = module
        institute, _, name = module.partition("/")
        start = f"landbridge serve FILE --as {module}"
        if name == "id":  # what lets members in
            start = "landbridge up" if institute == "lb" else "landbridge admit"
        super().__init__(
            f"No backend serves {module!r} now{detail}. The request was not delivered to anybody. "
            f"Ask {institute} to start it ({start}), or see what is online: landbridge ls"
        )


class BrokerUnreachable(LandbridgeError, ConnectionError):
    """No broker answers at the address, or it refused the credentials."""

    code = "unreachable"


class CallLost(LandbridgeError, ConnectionError):
    """The backend fell silent or forgot the call: it may have run, partly, wholly or not at all."""

    code = "lost"


class CallTimeout(LandbridgeError, TimeoutError):
    """A time limit passed, the caller's own or (`by_owner`) the method's; the remote work was told to stop."""

    code = "timeout"

    def __init__(self, target: str, timeout_s: float, by_owner: bool = False) -> None:
        self.target, self.timeout_s, self.by_owner = target, timeout_s, by_owner
        super().__init__(
            f"{target} did not finish within {timeout_s:g} s, to which its owner limits calls; it was told to stop. "
            "Ask for less at once, or ask the owner to raise the limit."
            if by_owner
            else f"{target} did not finish within {timeout_s:g} s, the limit given for this call; it was told to stop. "
            "Raise it (.options(timeout_s=...), in a shell --timeout-s), or leave it out to wait as long as it runs."
        )


class CallCancelled(LandbridgeError, RuntimeError):
    """The call was cancelled; `state` tells what became of the remote work: stopped, stopping or running."""

    code = "cancelled"

    def __init__(self, target: str, state: str) -> None:
        self.target, self.state = target, state
        what = {
            "stopped": "the remote work has stopped",
            "stopping": "the remote work was asked to stop and has not yet answered",
            "running": "its code is still running at the backend, in a thread that cannot be interrupted",
        }[state]
        super().__init__(f"{target} was cancelled; {what}.")


class RemoteError(LandbridgeError):
    """The method raised. The error is also the builtin that was raised, so ``except ValueError`` works as at home.

    Attributes
    ----------
    type_name : str
        Name of the class that was raised at the backend.
    remote_text : str
        Its text: bounded, control characters removed; empty if the owner withholds it.
    incident : str
        Id under which the backend logged the traceback.
    """

    code = "remote_error"

    def __init__(self, target: str, type_name: str, remote_text: str, incident: str) -> None:
        self.target, self.type_name, self.remote_text, self.incident = target, type_name, remote_text, incident
        said = f"{type_name}: {remote_text}" if remote_text else type_name
        where = f"raised in {target}"
        if incident:
            where += f"; its owner finds the traceback as incident {incident}"
        super().__init__(f"{said}\n({where})")


class MethodCrashed(LandbridgeError, RuntimeError):
    """The process that ran the method has ended under it: killed, out of memory, a crash in C, or ``os._exit``."""

    code = "crashed"

    def __init__(self, target: str, how: str) -> None:
        self.target, self.how = target, how
        super().__init__(
            f"The process that ran {target} {how}. Other calls are not affected. "
            "Ask for less at once if it ran out of memory; otherwise tell its owner."
        )


class ObjectGone(LandbridgeError, ReferenceError):
    """A remote object is no longer there: its lease ended, it was released, or its backend has gone."""

    code = "gone"

    def __init__(self, target: str, why: str) -> None:
        self.target, self.why = target, why
        super().__init__(f"{target} is no longer there: {why}. Make a new one.")


class DatasetChanged(LandbridgeError, RuntimeError):
    """A data set is no longer the one that was opened: its files were written to, or its owner serves another."""

    code = "changed"

    def __init__(self, target: str) -> None:
        self.target = target
        super().__init__(
            f"{target} has changed since it was opened, so what is read now would not fit what was read before. "
            "Open it again."
        )


class InternalError(LandbridgeError, RuntimeError):
    """A bug or failure at the other side that is not the method's own; `incident` finds it in the backend's log."""

    code = "internal"

    def __init__(self, text: str, incident: str = "") -> None:
        self.incident = incident
        super().__init__(text)


class NothingToServe(LandbridgeError, ValueError):
    """A module that names nothing to expose; the text shows the line to add."""

    code = "nothing_to_serve"


class NotConfigured(LandbridgeError, RuntimeError):
    """Settings or credentials that are missing or wrong."""

    code = "not_configured"


class BrokerFailed(LandbridgeError, RuntimeError):
    """The embedded broker could not be started."""

    code = "broker_failed"


class MissingExtra(LandbridgeError, ImportError):
    """An optional package is needed; the text holds the line that installs it."""

    code = "missing_extra"

    def __init__(self, need: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{need} needs a package that is not installed. Install it: pip install 'landbridge[{extra}]'")


# The closed list of builtins that a RemoteError can also be. Left out on purpose: StopIteration and GeneratorExit
# (they would steer the caller's own loops), SystemExit and KeyboardInterrupt (they would end its process), and the
# Unicode errors (their constructors need five arguments; they arrive as ValueError).
RAISED_BUILTINS: dict[str, type[Exception]] = {
    cls.__name__: cls
    for cls in (
        ArithmeticError, AssertionError, AttributeError, BlockingIOError, BrokenPipeError, BufferError,
        ChildProcessError, ConnectionAbortedError, ConnectionError, ConnectionRefusedError, ConnectionResetError,
        EOFError, FileExistsError, FileNotFoundError, FloatingPointError, ImportError, IndexError, InterruptedError,
        IsADirectoryError, KeyError, LookupError, MemoryError, ModuleNotFoundError, NameError, NotADirectoryError,
        NotImplementedError, OSError, OverflowError, PermissionError, ProcessLookupError, RecursionError,
        ReferenceError, RuntimeError, TimeoutError, TypeError, ValueError, ZeroDivisionError,
    )
}  # fmt: skip
_REMOTE_CLASSES: dict[str, type[RemoteError]] = {}


def remote_error(target: str, type_name: str, remote_text: str, incident: str, builtin: str | None) -> RemoteError:
    """Return the error for an exception raised in a method: a `RemoteError` that also is `builtin`.

    Parameters
    ----------
    target : str
        ``institute/module.method``.
    type_name, remote_text, incident : str
        As in `RemoteError`.
    builtin : str or None
        Name of the nearest builtin base; anything outside `RAISED_BUILTINS` is ignored.

    Examples
    --------
    >>> isinstance(remote_error("geomar/ocean.mean", "KeyError", "'sst'", "a1b2", "KeyError"), KeyError)
    True
    """
    cls = RemoteError
    if builtin in RAISED_BUILTINS:
        cls = _REMOTE_CLASSES.get(builtin) or _REMOTE_CLASSES.setdefault(
            builtin, type("RemoteError", (RemoteError, RAISED_BUILTINS[builtin]), {"__reduce__": _reduce_remote})
        )
    return cls(target, printable(type_name, 100), printable(remote_text, 4000), printable(incident, 40))


def _reduce_remote(error: RemoteError) -> tuple[Any, ...]:
    builtin = next(base.__name__ for base in type(error).__mro__ if base.__name__ in RAISED_BUILTINS)
    fields = (error.target, error.type_name, error.remote_text, error.incident, builtin)
    return remote_error, fields, dict(error.__dict__)


def _an(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun
