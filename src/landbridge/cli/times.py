"""Times as people give them: so many days from now, or a date."""

from __future__ import annotations

import re

from ..security import end_of
from .ending import UsageError

__all__ = ["until"]

_SPAN = re.compile(r"([1-9][0-9]{0,5})([mhdy])")
_SECONDS = {"m": 60, "h": 3600, "d": 24 * 3600, "y": 365 * 24 * 3600}
_LONGEST_S = 20 * 365 * 24 * 3600


def until(text: str, option: str, *, now: int) -> int:
    """Return the time that `text` means, in seconds since 1970 UTC: ``90d``, ``12h``, ``2y``, or ``2027-03-31``.

    Raises
    ------
    UsageError
        When it means none, one that is over, or one in more than 20 years; the text names `option`.

    Examples
    --------
    >>> until("90d", "--expires", now=1_800_000_000) - 1_800_000_000 == 90 * 24 * 3600
    True
    """
    span = _SPAN.fullmatch(text)
    try:
        end = now + int(span[1]) * _SECONDS[span[2]] if span else int(end_of(text))
    except ValueError:
        raise UsageError(
            f"{option} {text}: give days or hours from now, as 90d or 12h, or a date, as 2027-03-31."
        ) from None
    if not now < end <= now + _LONGEST_S:
        raise UsageError(f"{option} {text}: must be later than now, and within 20 years.")
    return end
