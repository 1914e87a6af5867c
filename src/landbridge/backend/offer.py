"""What a module offers, and to whom: its methods as they are served, who may call them, and how it describes itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import wire
from ..contract import Method, read_module
from ..errors import PermissionDenied, UnknownMember
from ..names import SERVICE_PERSON, Address, nearest
from ..security import Caller, Decision, decide
from .admission import Admission
from .expose import Exposed, Exposure
from .running import Style

if TYPE_CHECKING:
    from .served import ServedCall

__all__ = ["Offer", "Served"]

Parts = Sequence[bytes | memoryview]

_QUEUE = 1000
"""How many calls of a method may wait when its owner limits how many run, but does not say how many may wait."""

_FIRST_VERB = "open"
"""What everybody asks of a data set first: who may ask this may ask everything."""

_DESCRIPTIONS_KEPT = 64
_CALLERS_KEPT = 1000


@dataclass(frozen=True)
class Served:
    """A method as it is served.

    Attributes
    ----------
    method : Method
        What checks the arguments and what is run.
    style : Style
        How it is run.
    share : tuple of str
        Patterns it is shared with.
    timeout_s : float or None
        The owner's time limit.
    process : bool
        Whether it runs in a worker process.
    memory_limit : int or None
        How much memory it may take there, in bytes.
    admissions : tuple of Admission
        Who may run, where something limits how many of its calls run at a time; a call enters one after the other.
    function : callable or None
        What is run, when it is not what `method` says: a method bound to its object.
    onward : tuple of str
        Patterns of whom its results may go on to, as references.
    """

    method: Method
    style: Style
    share: tuple[str, ...]
    timeout_s: float | None
    process: bool = False
    memory_limit: int | None = None
    admissions: tuple[Admission[ServedCall], ...] = ()
    function: Callable[..., Any] | None = None
    onward: tuple[str, ...] = ()


class Offer:
    """What one module offers.

    Parameters
    ----------
    address : Address
        ``institute/module``.
    exposed : Exposure
        What the module exposes.
    share : sequence of str
        Patterns that every method is shared with, on top of its own.
    onward : sequence of str
        Patterns of whom references to results may go on to, on top of those of a method.
    network_owner : bool
        Whether the owner of the (embedded) network may call everything.

    Attributes
    ----------
    spec : ModuleSpec
        What the module says of itself to whoever may call all of it.
    served : dict of str to Served
        What can be called, by name: methods, classes, ``Class.method``, and what can be asked of data sets.
    """

    def __init__(
        self,
        address: Address,
        exposed: Exposure,
        *,
        share: Sequence[str],
        onward: Sequence[str] = (),
        network_owner: bool,
    ) -> None:
        self.name = f"{address.institute}/{address.module}"
        self._institute = address.institute
        self._network_owner = network_owner
        classes = {name: each.function for name, each in exposed.methods.items() if isinstance(each.function, type)}
        self.spec, methods = read_module(
            self.name,
            exposed.doc,
            {
                name: each.function
                for name, each in exposed.methods.items()
                if name not in classes and each.dataset is None
            },
            version=exposed.version,
            pure=[name for name, each in exposed.methods.items() if each.pure],
            idempotent=[name for name, each in exposed.methods.items() if each.idempotent],
            classes=classes,
            datasets={
                name: (inspect.getdoc(each.function) or "", each.dataset(f"{self.name}.{name}"))
                for name, each in exposed.methods.items()
                if each.dataset is not None
            },
        )
        self.served: dict[str, Served] = {}
        for name, method in methods.items():
            rules = exposed.methods[name.partition(".")[0]]  # those of a class or data set hold for what it has
            self.served[name] = Served(
                method, Style.of(method), (*share, *rules.share), rules.timeout_s, rules.process, rules.memory_limit,
                _admissions(f"{self.name}.{name}", rules), onward=(*onward, *rules.onward),
            )  # fmt: skip
        # Everybody may ask, so it must cost little: most see the same, and it does not change while we serve.
        self._described: dict[tuple[str, ...], Parts] = {}
        self._shared: dict[Caller, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def target(self, method: str) -> str:
        """Return how a member is called in texts: ``institute/module.method``."""
        return f"{self.name}.{method.replace(':', '.')}"

    def permitted(self, caller: Caller, name: str) -> Served:
        """Return a member that `caller` wants to call.

        Raises
        ------
        UnknownMember
            When there is none of this name.
        PermissionDenied
            When it is not shared with the caller.
        """
        name = name.replace(":", ".")
        served = self.served.get(name)
        if served is None:
            raise UnknownMember(self.name, name, nearest(name, self._visible(caller)))
        decision = self._decide(caller, name, served)
        if not decision.allowed:
            raise PermissionDenied(decision.reason)
        return served

    def check_onward(self, member: str, maker: Caller, institute: str) -> None:
        """Refuse, with `PermissionDenied`, that what a member made for a caller goes to the backends of an institute.

        It may go to who could have made it, to the caller's own institute, and to whom its owner says (``onward=``).
        """
        served = self.served.get(member)
        patterns = () if served is None else (*served.share, *served.onward)
        who = Caller(institute, SERVICE_PERSON)
        if institute == maker.institute or decide(who, self._institute, "", patterns, self._network_owner).allowed:
            return
        raise PermissionDenied(
            f"{self._institute} does not let what {self.target(member)} makes go on to {institute}. Ask "
            f"{self._institute} to allow it: landbridge serve FILE --as {self.name} --onward '{institute}/*'"
        )

    def callable_by(self, caller: Caller) -> tuple[str, ...]:
        """Return the names of what `caller` may call, methods of classes too."""
        return self._shared_with(caller)[1]

    def describe(self, caller: Caller, wanted: object) -> Parts:
        """Return the encoded spec of what `caller` may call; `wanted` may name one member that has to be in it."""
        member = wanted.get("member") if isinstance(wanted, dict) else None
        if isinstance(member, str):
            self.permitted(caller, f"{member}.{_FIRST_VERB}" if member in self.spec.datasets else member)
        visible = self._visible(caller)
        if not visible:
            raise PermissionDenied(
                f"{self._institute} has shared nothing of {self.name} with {caller}; ask "
                f"{self._institute} to share it: landbridge serve FILE --as {self.name} --share '{caller}'"
            )
        described = self._described.get(visible)
        if described is None:
            if len(self._described) >= _DESCRIPTIONS_KEPT:
                self._described.clear()
            described = self._described[visible] = wire.encode(self.spec.only(visible).to_json())
        return described

    def _visible(self, caller: Caller) -> tuple[str, ...]:
        return self._shared_with(caller)[0]

    def _shared_with(self, caller: Caller) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the members that are shared with somebody, and all that he may call."""
        shared = self._shared.get(caller)
        if shared is None:
            if len(self._shared) >= _CALLERS_KEPT:
                self._shared.clear()
            names = tuple(name for name, served in self.served.items() if self._decide(caller, name, served).allowed)
            members = {*self.spec.methods, *self.spec.classes}
            shown = (*(name for name in names if name in members), *self._datasets_among(names))
            shared = self._shared[caller] = shown, names
        return shared

    def _datasets_among(self, names: tuple[str, ...]) -> Iterator[str]:
        return (name for name in self.spec.datasets if f"{name}.{_FIRST_VERB}" in names)

    def _decide(self, caller: Caller, name: str, served: Served) -> Decision:
        return decide(caller, self._institute, self.target(name), served.share, self._network_owner)


def _admissions(target: str, exposed: Exposed) -> tuple[Admission[ServedCall], ...]:
    if exposed.concurrency is None:
        return ()
    queue = _QUEUE if exposed.queue is None else exposed.queue
    return (Admission(target, concurrency=exposed.concurrency, queue=queue),)
