"""Whether a call that ended with an error is tried again by itself, and when."""

from __future__ import annotations

from typing import Protocol

from ..errors import Busy, CallLost, LandbridgeError

__all__ = ["Failed", "again_in"]

_BUSY_PATIENCE_S = 300.0
_LONGEST_WAIT_S = 60.0
_SHORTEST_WAIT_S = 0.05
_LONGEST_SHORTEST_S = 2.0
_LOST_TRIES = 5
_LOST_WAIT_S = 0.2


class Failed(Protocol):
    """What matters of a call that has failed."""

    idempotent: bool
    delivered: bool
    tries: int
    waited_s: float
    at: float
    timeout_s: float | None


def again_in(error: LandbridgeError, call: Failed, now: float) -> tuple[float, str] | None:
    """Return in how many seconds to try again, and why, in words; None when the error stands.

    A busy backend has not run anything, and says when it has room again. A call that was lost may have run: it is only
    repeated when its method is declared idempotent. A stream of which items were handed on is never repeated.

    Parameters
    ----------
    error : LandbridgeError
        What the call ended with.
    call : Failed
        The call; `waited_s` is counted up.
    now : float
        On the clock of ``call.at``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> call = SimpleNamespace(idempotent=False, delivered=False, tries=1, waited_s=0.0, at=0.0, timeout_s=None)
    >>> again_in(Busy("i/m.f", "50 calls wait", 2.0), call, 0.1)
    (2.0, 'busy: 50 calls wait; trying again in 2 s')
    >>> again_in(CallLost("its backend fell silent"), call, 0.1) is None
    True
    """
    if call.delivered:
        return None
    if isinstance(error, Busy) and error.retry_after_s is not None:
        # Whoever says again and again that there is room at once is not believed again and again.
        shortest = min(_SHORTEST_WAIT_S * 2.0 ** min(call.tries - 1, 20), _LONGEST_SHORTEST_S)
        wait = min(max(float(error.retry_after_s), shortest), _LONGEST_WAIT_S)
        why = f"busy: {error.reason}" if error.reason else "busy"
        if call.waited_s + max(wait, float(error.retry_after_s)) > _BUSY_PATIENCE_S:
            return None
    elif isinstance(error, CallLost) and call.idempotent and call.tries < _LOST_TRIES:
        wait = _LOST_WAIT_S * 2 ** (call.tries - 1)
        why = "the backend was lost"
    else:
        return None
    if call.timeout_s is not None and now + wait - call.at >= call.timeout_s:
        return None
    call.waited_s += wait
    return wait, f"{why}; trying again in {wait:.2g} s"
