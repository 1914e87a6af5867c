"""How long a caller goes on asking when nobody serves what it calls: whoever does may be on the way."""

from __future__ import annotations

__all__ = ["BACKEND_RESTART_S", "BROKER_RESTART_S", "OFFLINE_GRACE_S", "offline_grace_s"]

OFFLINE_GRACE_S = 0.8
"""A request that nobody receives is repeated for this long on a young connection: backends may be connecting, too."""

BACKEND_RESTART_S = 3.0
"""The same for a module that was there a moment ago, whose backend is most likely started anew."""

BROKER_RESTART_S = 10.0
"""The same when, besides, our own connection broke: most likely all find the broker again, one by one."""

_YOUNG_S = 3.0


def offline_grace_s(was_there: bool, is_object: bool, age_s: float, *, was_cut: bool, is_kept: bool = False) -> float:
    """Return how long, in seconds, a request is repeated while no backend receives it.

    Parameters
    ----------
    was_there : bool
        Whether a backend of the module was there when last heard of, and has not said that it stops.
    is_object : bool
        Whether a method of an object is called, which is gone with its backend.
    age_s : float
        How long our connection to the broker has been up.
    was_cut : bool
        Whether there was another before, which broke: most likely the broker was started anew, and backends, too, find
        it again one by one.
    is_kept : bool
        Whether a kept value is asked for: only the backend that keeps it can answer, and only once it is back.

    Examples
    --------
    >>> offline_grace_s(True, False, 100.0, was_cut=False)  # a backend that is started anew
    3.0
    >>> offline_grace_s(True, True, 0.2, was_cut=True)  # the broker was
    10.0
    >>> offline_grace_s(False, False, 100.0, was_cut=False)
    0.0
    """
    if was_there and (is_kept or (was_cut and age_s < BROKER_RESTART_S)):
        return BROKER_RESTART_S
    if was_there and not is_object:
        return BACKEND_RESTART_S
    return OFFLINE_GRACE_S if age_s < _YOUNG_S else 0.0
