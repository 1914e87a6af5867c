"""What is to be done when a backend has ended, and how that is said: decided here, done in `supervisor`."""

from __future__ import annotations

import signal
from dataclasses import dataclass

__all__ = ["Again", "End", "Failure", "GiveUp", "Passed", "Restarts", "how_it_ended"]

STARTS_WITHOUT_SERVING = 5
"""So often a backend is started that ends before it has ever served."""

SERVED_WELL_S = 60.0
"""Who has served for so long is started again at once when it ends."""

_WAITS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that a backend told of before it ended; it has already shown it to people.

    Attributes
    ----------
    for_good : bool
        Whether starting it again cannot help: it may not serve, or nobody reads what it says.
    """

    for_good: bool


@dataclass(frozen=True, slots=True)
class End:
    """How a backend ended.

    Attributes
    ----------
    code : int
        Its exit code; a negative one is the signal that ended it.
    served_s : float or None
        How long it served; None when it never did.
    failure : Failure or None
        What it told before.
    """

    code: int
    served_s: float | None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """Start it again in `wait_s` seconds."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Passed:
    """End with the backend's own exit code: it has said why."""

    code: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Start it no more; it has ended `times` times without ever serving."""

    times: int


class Restarts:
    """Decides about the ends of the backends of one ``landbridge serve``.

    Before anything has been served, an error of its own ends the command, as a mistake in a file must; a crash is tried
    again a few times. What has once been served is kept up: it is started again after every end, at once the first
    time and then with growing waits, until it is told that there is no use.

    Examples
    --------
    >>> restarts = Restarts()
    >>> restarts.after(End(code=-9, served_s=3600.0))
    Again(wait_s=0.0)
    >>> restarts.after(End(code=-9, served_s=2.0))
    Again(wait_s=0.5)
    """

    def __init__(self) -> None:
        self._has_served = False
        self._in_a_row = 0

    def after(self, end: End) -> Again | Passed | GiveUp:
        """Return what is to be done now that a backend has ended that nobody had told to."""
        self._has_served = self._has_served or end.served_s is not None
        if end.failure is not None and (end.failure.for_good or not self._has_served):
            return Passed(end.code)
        if end.served_s is not None and end.served_s >= SERVED_WELL_S:
            self._in_a_row = 0
        self._in_a_row += 1
        if not self._has_served and self._in_a_row >= STARTS_WITHOUT_SERVING:
            return GiveUp(self._in_a_row)
        return Again(_WAITS_S[min(self._in_a_row, len(_WAITS_S)) - 1])

    def changed(self) -> None:
        """Take note that what is served is another now: the ends so far say nothing about it."""
        self._in_a_row = 0


def how_it_ended(end: End) -> str:
    """Return how a process ended, in words that follow its name.

    Examples
    --------
    >>> how_it_ended(End(code=7, served_s=None))
    'ended with exit code 7, without an error of its own: something in it called os._exit'
    """
    if end.failure is not None:
        return "ended with the error above"
    if end.code >= 0:
        if end.code == 0:
            return "ended in order, told to by somebody else"
        return f"ended with exit code {end.code}, without an error of its own: something in it called os._exit"
    try:
        name = signal.Signals(-end.code).name
    except ValueError:
        name = f"signal {-end.code}"
    if name == "SIGKILL":
        return "was killed (SIGKILL), by somebody or by the system for want of memory"
    if name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"):
        return f"crashed in compiled code ({name})"
    return f"was ended by {name}"
