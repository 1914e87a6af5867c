"""What the state machines ask their drivers to do. They decide; the drivers act.

The machines have no clock, no randomness and no I/O: time and ids come in as arguments, these values go out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import LandbridgeError

__all__ = [
    "Action",
    "Ended",
    "Forget",
    "Interrupt",
    "Item",
    "More",
    "Progress",
    "Run",
    "Send",
    "Started",
]

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Send:
    """Publish one message.

    Attributes
    ----------
    to : str
        ``request`` (the module's call subject, reply to the call's inbox), ``control`` (the backend that runs the
        call) or ``inbox`` (the caller).
    parts : sequence of bytes
        The message; the driver may join them.
    """

    to: str
    parts: Sequence[Bytes]


@dataclass(frozen=True, slots=True)
class Started:
    """The backend `instance` has accepted the call."""

    instance: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the method says it is; `total` is None when it does not know."""

    done: float
    total: float | None
    label: str


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a stream: its bytes, and the cost to hand back to `Caller.took` once it has been used."""

    frame: memoryview | bytearray
    cost: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The call has ended for its caller: with the bytes of a value, or an error, or neither (end of a stream)."""

    frame: memoryview | bytearray | None
    error: LandbridgeError | None


@dataclass(frozen=True, slots=True)
class Run:
    """All arguments are here: run the method."""

    frame: memoryview | bytearray


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop the running method as far as it can be stopped, and say `Responder.stopped` when it has ended."""

    reason: str


@dataclass(frozen=True, slots=True)
class More:
    """The stream may produce its next item."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing will happen any more: drop the machine."""


Action = Send | Started | Progress | Item | Ended | Run | Interrupt | More | Forget
