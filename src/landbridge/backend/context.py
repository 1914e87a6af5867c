"""What a method can know of the call it serves, and how it tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast

from ..errors import CallCancelled, printable
from ..terminal import Bar
from ..tracing import TraceContext, serving

if TYPE_CHECKING:
    from .output import CallOutput

__all__ = ["CurrentCall", "current", "current_call", "track"]

T = TypeVar("T")


class CurrentCall:
    """The call that is being served.

    Attributes
    ----------
    target : str
        ``institute/module.method``.
    caller : str
        ``institute/person``, vouched for by the broker.
    call_id : str
        Id of the call, the same in the logs of both sides.
    deadline : datetime or None
        When the call is to have ended, in UTC; None without a time limit.
    wants_log : bool
        Whether the caller asked for what the method prints and logs.
    trace : TraceContext or None
        The place of this call in the trace of its caller, if that has one.
    """

    __slots__ = (
        "_cancelled",
        "_output",
        "_report",
        "call_id",
        "caller",
        "deadline",
        "target",
        "trace",
        "wants_log",
    )

    def __init__(
        self,
        target: str,
        caller: str,
        call_id: str,
        deadline: datetime | None,
        report: Callable[[float, float | None, str], None],
        wants_log: bool = False,
        trace: TraceContext | None = None,
    ) -> None:
        self.target = target
        self.caller = caller
        self.call_id = call_id
        self.deadline = deadline
        self._report = report
        self.wants_log = wants_log
        self.trace = trace
        self._cancelled = False
        self._output: CallOutput | None = None

    @property
    def traceparent(self) -> str | None:
        """The place of this call in its caller's trace, as W3C Trace Context writes it; None without a trace."""
        return None if self.trace is None else self.trace.traceparent

    @property
    def tracestate(self) -> str | None:
        """What the caller's tracing system sent along with the trace; None when it sent nothing."""
        return None if self.trace is None else self.trace.state or None

    @property
    def cancelled(self) -> bool:
        """Whether the caller no longer wants the result. Long loops in plain functions should look and return."""
        return self._cancelled

    def progress(self, done: float, total: float | None = None, label: str = "") -> None:
        """Tell the caller how far the work is.

        Parameters
        ----------
        done : float
            How much is done, in any unit.
        total : float, optional
            How much there is, in the same unit.
        label : str
            A few words on what is being done.
        """
        self._report(max(float(done), 0.0), None if total is None else max(float(total), 0.0), printable(label, 200))


# Also looked at by `tracing.outgoing_trace`, on a floor below.
current = cast("ContextVar[CurrentCall | None]", serving)


def current_call() -> CurrentCall | None:
    """Return the call that this code serves; None when it runs at home.

    Examples
    --------
    >>> current_call() is None
    True
    """
    return current.get()


def track(iterable: Iterable[T], *, total: float | None = None, label: str = "") -> Iterator[T]:
    """Go through `iterable` and show how far it is: in a bar at home, to the remote caller when served.

    When the caller has cancelled, the next step raises `CallCancelled`, so that a loop under `track` can be stopped.

    Parameters
    ----------
    iterable : iterable
        What to go through.
    total : float, optional
        Number of items, if `iterable` does not know its own length.
    label : str
        A few words on what is being done.

    Examples
    --------
    >>> sum(track([1, 2, 3]))
    6
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    call = current_call()
    if call is None:
        with Bar(label) as bar:
            for done, item in enumerate(iterable, 1):
                yield item
                bar.update(done, total)
        return
    for done, item in enumerate(iterable, 1):
        yield item
        if call.cancelled:
            raise CallCancelled(call.target, "stopping")
        call.progress(done, total, label)
