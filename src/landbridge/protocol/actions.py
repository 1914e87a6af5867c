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
    "Invoke",
    "Item",
    "Log",
    "More",
    "OpenLane",
    "Progress",
    "Returned",
    "Run",
    "Send",
    "Started",
    "Waits",
]

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Send:
    """Publish one message.

    Attributes
    ----------
    to : str
        ``request`` (the module's call subject, reply to the call's inbox), ``control`` (the backend that runs the
        call), ``anyone`` (every backend of the module), ``inbox`` (the caller) or ``lane`` (the lane for long values
        of the other side).
    parts : sequence of bytes
        The message; the driver may join them.
    """

    to: str
    parts: Sequence[Bytes]


@dataclass(frozen=True, slots=True)
class OpenLane:
    """Open the connection for long values, unless it is open, and say `lane_opened` when it is."""


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
class Waits:
    """The call waits in the backend's queue at this place, from 1; 0 when it runs, or its owner has to approve."""

    place: int
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """A line that the method wrote, to ``stdout``, ``stderr`` or its ``log``."""

    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a stream: its bytes, and what to hand back to `Caller.took` once it has been used."""

    frame: memoryview | bytearray
    cost: int
    bulk: bool


@dataclass(frozen=True, slots=True)
class Invoke:
    """The method calls a function of its caller: its index among the arguments, and the number of this question."""

    function: int
    ask: int
    frame: memoryview | bytearray
    cost: int
    bulk: bool


@dataclass(frozen=True, slots=True)
class Returned:
    """A function of the caller has answered question `ask`: with the bytes of a value or an error."""

    ask: int
    frame: memoryview | bytearray | None
    error: LandbridgeError | None


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


Action = (
    Send
    | OpenLane
    | Started
    | Progress
    | Waits
    | Log
    | Item
    | Invoke
    | Ended
    | Run
    | Returned
    | Interrupt
    | More
    | Forget
)
