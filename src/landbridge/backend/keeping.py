"""Answering for values that stay here: who may ask what of them, and how that is run."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import wire
from ..contract import read_module
from ..errors import ObjectGone, UnknownMember
from ..names import nearest
from ..protocol import ObjectSubject
from ..security import Caller, KeyPair, granted_to
from ..settings import memory_bytes
from .context import CurrentCall
from .execution import Fetch, Fetched, own_errors
from .expose import Verbs
from .offer import Offer, Served
from .references import WHY_GONE, Kept, Limits, References
from .running import Keep, Style
from .spill import SpillFolder

if TYPE_CHECKING:
    from ..contract import Method

__all__ = ["REFERENCE_VERBS", "Keeper", "Keeping"]

_LONGEST_PIN_DAYS = 365.0
_OPENED = 64
_MEMORY_SHARE = 8
"""Kept values may take one part in so many of the machine's memory; more goes to disk."""

REFERENCE_VERBS = ("get", "info", "pin", "grant", "open", "select", "compute")
"""What can be asked of a reference, beside prolonging its lease and releasing it."""


@dataclass(frozen=True)
class Keeping:
    """What a backend needs to keep values, and to have those of others.

    Attributes
    ----------
    key : KeyPair
        The module's own key; the same for all backends of the module on one computer.
    folder : Path or None
        Where values go that memory has no room for; None: nowhere.
    fetch : callable
        Gets the value of a reference from another backend.
    opens : callable
        Tells what can be asked of a value as of a data set; None when it is none.
    """

    key: KeyPair
    folder: Path | None
    fetch: Fetch
    opens: Callable[[object], Verbs | None]


class Keeper:
    """The values that one backend keeps, and the answers to requests for them.

    Parameters
    ----------
    offer : Offer
        What the module offers, and to whom.
    instance : str
        The backend.
    keeping : Keeping
        What it needs.
    clock : callable
        The time that leases are measured by, in seconds.
    """

    def __init__(self, offer: Offer, instance: str, keeping: Keeping, clock: Callable[[], float]) -> None:
        self._offer, self._instance, self._keeping, self._clock = offer, instance, keeping, clock
        self.references = References(
            offer.name,
            instance,
            limits=Limits(memory_bytes() // _MEMORY_SHARE),
            key=keeping.key,
            folder=None if keeping.folder is None else SpillFolder(keeping.folder),
        )
        self._verbs = _read_verbs()
        self._opened: deque[weakref.ref[Kept]] = deque()

    def keep(self, caller: Caller, session: str, member: str) -> Keep:
        """Return what keeps the value of a call, and gives what its caller gets instead."""
        return lambda value: self.references.keep(value, caller, session, member, self._clock())

    def served(self, subject: ObjectSubject, session: str, grant: str | None) -> Served:
        """Return how a request to a reference is run.

        Raises
        ------
        UnknownMember
            When nothing of the kind can be asked.
        ObjectGone, PermissionDenied
            When the value is not here, or not for whoever asks.
        """
        method = self._verbs.get(subject.method)
        if method is None:
            suggestion = nearest(subject.method, self._verbs)
            raise UnknownMember(f"a reference of {self._offer.name}", subject.method, suggestion)
        caller = Caller(subject.institute, subject.person)
        kept = self.references.find(subject.object_id, caller, session, grant, subject.method, self._clock())
        if grant is not None and kept.caller != caller and subject.method in ("pin", "grant"):
            raise UnknownMember(f"a granted reference of {self._offer.name}", subject.method, None)
        self._check(kept, None if grant is None else caller.institute)
        reference = Reference(
            kept, self.references, self._offer.check_onward, self._keeping.opens, self._remember_opened
        )
        # So that what streams is ended with the rest when its maker may no longer have it made.
        member = kept.member if grant is None else ""
        return Served(method, Style.of(method), None, function=partial(method.function, reference), member=member)

    def _check(self, kept: Kept, onward: str | None) -> None:
        """Refuse what its owner no longer allows to be made, or to go on to another institute."""
        self._offer.check(kept.caller, kept.member)
        if onward is not None:
            self._offer.check_onward(kept.member, kept.caller, onward)

    def _remember_opened(self, kept: Kept) -> None:
        """Have few values open at a time: each of those on disk has a descriptor."""
        self._opened.append(weakref.ref(kept))  # which must not hold one that is let go of
        while len(self._opened) > _OPENED:
            if (oldest := self._opened.popleft()()) is not None:
                oldest.opened = None

    def fetch(self, data: wire.ReferenceData, call: CurrentCall, lazily: bool) -> Fetched:
        """Return the value of a reference that was given to a call here, wherever it is kept."""
        if (data.module, data.instance) != (self._offer.name, self._instance):
            if data.grant is not None and granted_to(data.grant) != call.caller:
                raise ObjectGone(f"The value of {data.module}.{data.member} that was given", WHY_GONE)
            return self._keeping.fetch(data, call, lazily)
        # A grant that comes along is for backends that do not keep the value, and so do not know whose it is. Here that
        # is known: whoever got hold of a grant for our institute could have a method give the value back otherwise.
        institute, _, person = call.caller.partition("/")
        kept = self.references.find(data.value_id, Caller(institute, person), None, None, "value", self._clock())
        self._check(kept, None)
        try:
            return Fetched(kept.value(), 0)  # it takes no further memory
        except FileNotFoundError:
            raise ObjectGone(f"The value of {data.module}.{kept.member} that was given", WHY_GONE) from None


class Reference:
    """What callers can ask of a value that stays here: each method is called like one of an object of a class.

    Parameters
    ----------
    kept : Kept
        The value.
    references : References
        Where it is kept.
    may_go : callable
        Tells whether what a member made for a caller may go to an institute; raises `PermissionDenied` if not.
    opens : callable
        Tells what can be asked of a value as of a data set; None when it is none.
    remember : callable
        Takes note that the value has been opened.
    """

    def __init__(
        self,
        kept: Kept,
        references: References,
        may_go: Callable[[str, Caller, str], None],
        opens: Callable[[object], Verbs | None],
        remember: Callable[[Kept], None],
    ) -> None:
        self._kept, self._references, self._may_go = kept, references, may_go
        self._opens, self._remember = opens, remember

    def get(self) -> Any:
        """Return the value."""
        with own_errors():
            try:
                return self._kept.value()
            except FileNotFoundError:
                raise ObjectGone(f"The value of {self._kept.member} that was asked for", WHY_GONE) from None

    def info(self) -> dict[str, Any]:
        """Return what is said of the value, and how it is kept."""
        kept = self._kept
        state = "on disk" if kept.spilled else "lazy" if kept.frame is None else "in memory"
        return {**kept.summary, "state": state, "pinned_until": kept.pinned_until or None}

    def pin(self, days: float) -> dict[str, Any]:
        """Keep the value for some days in any case."""
        if not 0 <= days <= _LONGEST_PIN_DAYS:
            raise ValueError(f"a value can be pinned for 0 to {_LONGEST_PIN_DAYS:g} days, not {days!r}")
        with own_errors():
            self._references.pin(self._kept, days)
        return self.info()

    def grant(self, institute: str) -> str:
        """Return leave for the backends of an institute to have the value."""
        with own_errors():
            self._may_go(self._kept.member, self._kept.caller, institute)
            return self._references.grant(self._kept, institute)

    def open(self) -> dict[str, Any]:
        """Return what is said of the value as a data set."""
        described: dict[str, Any] = self._asked("open")()
        return described

    def select(self, version: str, wanted: list[Any]) -> Iterator[list[Any]]:
        """Go through the blocks of parts of the value as a data set."""
        yield from self._asked("select")(version, wanted)

    def compute(self, version: str, expression: list[Any]) -> Any:
        """Return what a chain of operations gives on the value as a data set."""
        return self._asked("compute")(version, expression)

    def _asked(self, verb: str) -> Callable[..., Any]:
        kept = self._kept
        opened = kept.opened
        if opened is None:
            opened = self._opens(self.get())
            if opened is None:
                raise TypeError(f"it is a {kept.summary['type']}, and only data sets can be opened; get it instead")
            kept.opened = opened
            self._remember(kept)
        return opened[verb]


def _read_verbs() -> dict[str, Method]:
    _, methods = read_module("lb/references", None, {}, classes={"Reference": Reference})
    return {verb: methods[f"Reference.{verb}"] for verb in REFERENCE_VERBS}
