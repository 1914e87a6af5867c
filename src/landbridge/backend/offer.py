"""What a module offers, and to whom: its methods as they are served, who may call them, and how it describes itself."""

from __future__ import annotations

import inspect
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import wire
from ..contract import Method, read_module
from ..errors import NothingToServe, PermissionDenied, UnknownMember
from ..names import SERVICE_PERSON, Address, nearest
from ..security import Caller, Decision, Rule, decide
from .admission import Admission
from .expose import Exposed, Exposure
from .running import STREAMS, Style

if TYPE_CHECKING:
    from .served import ServedCall

__all__ = ["Offer", "Proves", "Served"]

Parts = Sequence[bytes | memoryview]

_QUEUE = 1000
"""How many calls of a method may wait when its owner limits how many run, but does not say how many may wait."""

_FIRST_VERB = "open"
"""What everybody asks of a data set first: who may ask this may ask everything."""

_NOBODY_IN_PARTICULAR = Caller("id", "_")
"""A name that nobody can have, so that only what is shared with everybody is shared with it."""

Proves = Callable[[str, str, str], "dict[str, str] | None"]

_NONCE = re.compile("[0-9a-f]{32}")
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
    member : str
        What it is called in the module; of what can be asked of a kept value, what its caller had it made by. Empty for
        what was granted to others.
    approve : bool
        Whether the module says that its owner has to accept what comes of each call of others.
    one_value : bool
        Whether it answers with one value, which can be looked at before it goes.
    """

    method: Method
    style: Style
    timeout_s: float | None
    process: bool = False
    memory_limit: int | None = None
    admissions: tuple[Admission[ServedCall], ...] = ()
    function: Callable[..., Any] | None = None
    onward: tuple[str, ...] = ()
    member: str = ""
    approve: bool = False
    one_value: bool = True


class _Shared(NamedTuple):
    """The members that are shown to somebody, and all that he may call; until when that is known."""

    shown: tuple[str, ...]
    names: tuple[str, ...]
    until: float


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
    proves : callable, optional
        Gives the proof that we are a module of our institute, for what we say, to whom, and what they sent along; or
        None, while the institute has not vouched for us.
    clock : callable
        The time of now, in seconds since 1970 UTC.

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
        proves: Proves | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self.proves = proves
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
            style = Style.of(method)
            served = self.served[name] = Served(
                method, style, rules.timeout_s, rules.process, rules.memory_limit,
                _admissions(f"{self.name}.{name}", rules), onward=(*onward, *rules.onward), member=name,
                approve=rules.approve, one_value=style not in STREAMS and rules.dataset is None,
            )  # fmt: skip
            if served.approve and not served.one_value:
                raise NothingToServe(
                    f"{name} has approve=, and gives its items one by one, so that nobody could look at all of them "
                    "before they go. Return them as one value, or leave out approve=."
                )
        # What the module itself says, which does not change while we serve.
        self._own_rules = (
            *(Rule(pattern) for pattern in share),
            *(Rule(pattern, frozenset([name])) for name, each in exposed.methods.items() for pattern in each.share),
        )
        self._rules: tuple[Rule, ...] = self._own_rules
        self._fault = ""
        # Everybody may ask, so it must cost little: most see the same.
        self._described: dict[tuple[str, ...], Parts] = {}
        self._shared: dict[Caller, _Shared] = {}

    def follow(self, rules: Sequence[Rule], fault: str = "") -> None:
        """Take over what the owner allows and refuses beside what the module says; `fault` says why nobody knows."""
        self._rules = (*self._own_rules, *rules)
        self._fault = fault
        self._shared.clear()

    def target(self, method: str) -> str:
        """Return how a member is called in texts: ``institute/module.method``."""
        return f"{self.name}.{method.replace(':', '.')}"

    def permitted(self, caller: Caller, name: str) -> tuple[Served, Decision]:
        """Return a member that `caller` wants to call, and the decision that he may.

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
        return served, self.check(caller, name)

    def check(self, caller: Caller, name: str) -> Decision:
        """Return the decision that `caller` may call a member; raises `PermissionDenied` when he may not."""
        decision = self.decision(caller, name)
        if not decision.allowed:
            raise PermissionDenied(decision.reason)
        return decision

    def decision(self, caller: Caller, name: str) -> Decision:
        """Return whether `caller` may call a member, as ``climatology`` or ``Model.step``."""
        return self._decide(caller, name, self._rules)

    def check_onward(self, member: str, maker: Caller, institute: str) -> None:
        """Refuse, with `PermissionDenied`, that what a member made for a caller goes to the backends of an institute.

        It may go to who could have made it, to the caller's own institute, and to whom its owner says (``onward=``).
        """
        served, who = self.served.get(member), Caller(institute, SERVICE_PERSON)
        onward = () if served is None else tuple(Rule(pattern) for pattern in served.onward)
        decision = self._decide(who, member, (*self._rules, *onward))
        is_named = any(rule.concerns(who, member) for rule in onward)
        # Who may have it made within limits only is not to have what others made without them; nor may who has each
        # result looked at have one that was looked at for others.
        is_free = decision.allowed and not decision.rules and (is_named or not decision.approve)
        if institute == maker.institute or is_free:
            return
        raise PermissionDenied(
            f"{self._institute} does not let what {self.target(member)} makes go on to {institute}. Ask "
            f"{self._institute} to allow it: landbridge serve FILE --as {self.name} --onward '{institute}/*'"
        )

    def callable_by_everybody(self) -> tuple[str, ...]:
        """Return the names of what everybody in the network may call: all that is said where anybody listens."""
        return self.callable_by(_NOBODY_IN_PARTICULAR)

    def callable_by(self, caller: Caller) -> tuple[str, ...]:
        """Return the names of what `caller` may call, methods of classes too."""
        return self._shared_with(caller).names

    def describe(self, caller: Caller, wanted: object) -> Parts:
        """Return the encoded spec of what `caller` may call; `wanted` may name one member that has to be in it.

        If it has a ``nonce``, and our institute has vouched for us, a proof of that is in it, too.
        """
        member = wanted.get("member") if isinstance(wanted, dict) else None
        if isinstance(member, str):
            self.permitted(caller, f"{member}.{_FIRST_VERB}" if member in self.spec.datasets else member)
        visible = self._visible(caller)
        if not visible and self._fault:
            raise PermissionDenied(self._at_fault())
        if not visible:
            raise PermissionDenied(
                f"{self._institute} has shared nothing of {self.name} with {caller}; ask "
                f"{self._institute} to share it: landbridge share {self.name} '{caller}'"
            )
        nonce, proves = wanted.get("nonce") if isinstance(wanted, dict) else None, self.proves
        if isinstance(nonce, str) and _NONCE.fullmatch(nonce) and proves is not None:
            # As text, which all languages sign and read alike.
            said = json.dumps(self.spec.only(visible).to_json(), separators=(",", ":"))
            proof = proves(said, str(caller), nonce)
            if proof is not None:
                return wire.encode({"said": said, "identity": proof})
        described = self._described.get(visible)
        if described is None:
            if len(self._described) >= _DESCRIPTIONS_KEPT:
                self._described.clear()
            described = self._described[visible] = wire.encode(self.spec.only(visible).to_json())
        return described

    def _at_fault(self) -> str:
        return f"{self.name} is shared with nobody now: {self._fault}"

    def _visible(self, caller: Caller) -> tuple[str, ...]:
        return self._shared_with(caller).shown

    def _shared_with(self, caller: Caller) -> _Shared:
        """Return the members that are shared with somebody, and all that he may call."""
        shared, now = self._shared.get(caller), self._clock()
        if shared is None or now >= shared.until:
            if len(self._shared) >= _CALLERS_KEPT:
                self._shared.clear()
            decisions = {name: self.decision(caller, name) for name in self.served}
            names = tuple(name for name, decision in decisions.items() if decision.allowed)
            members = {*self.spec.methods, *self.spec.classes}
            shown = (*(name for name in names if name in members), *self._datasets_among(names))
            until = min((decision.until for decision in decisions.values()), default=math.inf)
            shared = self._shared[caller] = _Shared(shown, names, until)
        return shared

    def _datasets_among(self, names: tuple[str, ...]) -> Iterator[str]:
        return (name for name in self.spec.datasets if f"{name}.{_FIRST_VERB}" in names)

    def _decide(self, caller: Caller, name: str, rules: Sequence[Rule]) -> Decision:
        if self._fault:
            return Decision(False, self._at_fault())
        served = self.served.get(name)
        return decide(
            caller, self._institute, self.name, name, rules,
            network_owner=self._network_owner, now=self._clock(),
            approve=served is not None and served.approve, one_value=served is None or served.one_value,
        )  # fmt: skip


def _admissions(target: str, exposed: Exposed) -> tuple[Admission[ServedCall], ...]:
    if exposed.concurrency is None:
        return ()
    queue = _QUEUE if exposed.queue is None else exposed.queue
    return (Admission(target, concurrency=exposed.concurrency, queue=queue),)
