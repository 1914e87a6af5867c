"""Answering for values that stay here: who may ask what of them, and how that is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import wire
from ..contract import read_module
from ..errors import UnknownMember
from ..names import SERVICE_PERSON, nearest
from ..protocol import ObjectSubject
from ..security import Caller, KeyPair
from ..settings import memory_bytes
from .execution import Fetch
from .expose import Verbs
from .offer import Offer, Served
from .references import Limits, Reference, References
from .running import Keep, Style
from .spill import SpillFolder

if TYPE_CHECKING:
    from ..contract import Method

__all__ = ["REFERENCE_VERBS", "Keeper", "Keeping"]

_MEMORY_SHARE = 8
"""Kept values may take one part in so many of the machine's memory; more goes to disk."""

REFERENCE_VERBS = ("get", "info", "pin", "grant", "open", "select")
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
        reference = Reference(kept, self.references, self._offer.check_onward, self._keeping.opens)
        return Served(method, Style.of(method), (), None, function=partial(method.function, reference))

    def fetch(self, data: wire.ReferenceData, caller: str, lazily: bool) -> object:
        """Return the value of a reference that `caller` gave to a method here, wherever it is kept."""
        if (data.module, data.instance) != (self._offer.name, self._instance):
            return self._keeping.fetch(data, caller, lazily)
        institute, _, person = caller.partition("/")
        who = Caller(institute, person)
        if data.grant is not None:
            who = Caller(data.module.partition("/")[0], SERVICE_PERSON)
        return self.references.find(data.value_id, who, None, data.grant, "value", self._clock()).value()


def _read_verbs() -> dict[str, Method]:
    _, methods = read_module("lb/references", None, {}, classes={"Reference": Reference})
    return {verb: methods[f"Reference.{verb}"] for verb in REFERENCE_VERBS}
