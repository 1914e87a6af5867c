"""How a method is called, beside its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULT", "Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of calls.

    Attributes
    ----------
    timeout_s : float or None
        Time limit for each call, in seconds; None: as long as the backend shows that it works.
    logs : bool
        Whether what the method prints and logs is to be seen here, live.
    """

    timeout_s: float | None = None
    logs: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises `ValueError`."""
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be more than 0 s, not {self.timeout_s!r}")

    def extras(self) -> dict[str, Any]:
        """Return the further fields of the request."""
        return {"logs": True} if self.logs else _NONE


_NONE: dict[str, Any] = {}
DEFAULT = Options()
