"""Who calls: the two names that the broker vouches for."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Caller"]


class Caller(NamedTuple):
    """The person who calls and the institute that vouches for that person.

    Both come from the subject of a delivered request, which the broker lets nobody else publish to; never from a
    header or from anything else the caller says about itself.

    Attributes
    ----------
    institute, person : str
        Names as `landbridge.names` allows them.

    Examples
    --------
    >>> str(Caller("awi", "anna"))
    'awi/anna'
    """

    institute: str
    person: str

    def __str__(self) -> str:
        """Return ``institute/person``."""
        return f"{self.institute}/{self.person}"
