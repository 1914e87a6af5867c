"""What an owner holds his module to: whom it is shared with, within which limits, and what is written down of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from ..errors import NotConfigured, printable
from ..names import nearest
from ..security import Caller, Decision, Policy
from .audit import Audit, digest
from .offer import Offer
from .quotas import Quotas, Ration
from .served import ServedCall

__all__ = ["Oversight", "PolicySource"]

_log = logging.getLogger(__name__)


class PolicySource(Protocol):
    """What the owner of a module has decided beside what the module says, and may change at any time."""

    def has_changed(self) -> bool:
        """Return whether `read` would give something else than the last time."""

    def read(self) -> Policy:
        """Return what holds now; raises `NotConfigured` when it cannot be read."""


class Oversight:
    """Keeps an offer to what its owner has decided, and writes down what happens.

    Parameters
    ----------
    offer : Offer
        What the module offers.
    source : PolicySource, optional
        What its owner has decided beside what the module says.
    folder : Path, optional
        Where the audit log is.

    Raises
    ------
    NotConfigured
        When what the owner has decided cannot be read.
    """

    def __init__(self, offer: Offer, source: PolicySource | None, folder: Path | None) -> None:
        self._offer, self._source, self._folder = offer, source, folder
        self._quotas = Quotas()
        self._audit: Audit | None = None
        self._with_values = False
        self._follow(Policy() if source is None else source.read())

    def _follow(self, policy: Policy, fault: str = "") -> None:
        self._offer.follow(policy.rules, fault)
        self._with_values = policy.audit_values
        for name in sorted({name for rule in policy.rules for name in rule.members or ()} - self._known()):
            meant = nearest(name, self._known())
            hint = f"; was {meant} meant?" if meant else ""
            _log.warning("a rule for %s names %s, which it has not%s", self._offer.name, printable(name, 80), hint)
        if self._folder is not None and self._audit is None and policy.audit != "off":
            self._audit = Audit(self._folder)
        if self._audit is not None:
            self._audit.required = policy.audit == "required"
            # That it is switched off is the last that stands in it.
            self._audit.note("rules", rules=len(policy.rules), audit=policy.audit, fault=fault)
            if policy.audit == "off":
                self._end_log()

    def _known(self) -> set[str]:
        spec = self._offer.spec
        return {*self._offer.served, *spec.methods, *spec.classes, *spec.datasets}

    def look(self) -> bool:
        """Follow what the owner has decided since; True when anything has changed. Called some times a second."""
        if self._audit is not None:
            self._audit.write()
        if self._source is None or not self._source.has_changed():
            return False
        try:
            policy = self._source.read()
        except NotConfigured as error:
            # What he meant to forbid must not go on because he has mistyped it.
            _log.error("nobody may call %s now: %s", self._offer.name, error)
            required = "on" if self._audit is None or not self._audit.required else "required"
            owner = self._offer.name.partition("/")[0]
            self._follow(Policy(audit=required), f"what {owner} allows cannot be read; ask there to mend it")
        else:
            _log.info("what %s is shared for has changed", self._offer.name)
            self._follow(policy)
        return True

    @property
    def shows_values(self) -> bool:
        """Whether the arguments of calls are written down."""
        return self._with_values and self._audit is not None

    def ration(self, decision: Decision, caller: Caller, target: str, now: float) -> Ration | None:
        """Return what one call may use; None when it is not limited. Raises `Busy` when nothing is left."""
        return self._quotas.enter(decision.rules, caller, target, now) if decision.rules else None

    def expire(self, now: float) -> None:
        """Forget who has used nothing for long."""
        self._quotas.expire(now)

    def begins(self, call: ServedCall, frame: memoryview | bytearray) -> None:
        """Take note of a call that is about to run; raises `Busy` when it must be written down and cannot be."""
        if self._audit is not None:
            call.arguments_digest = digest(frame)
            if self._audit.required:
                said = {"call": call.call_id, "caller": str(call.caller), "member": self._member(call)}
                self._audit.begins(call.responder.target, {**said, "arguments": call.arguments_digest})

    def ended(self, call: ServedCall, now: float) -> None:
        """Take note of a call that has ended."""
        if call.ration is not None:
            call.ration.end(call.bytes_out, now)
        if self._audit is not None and call.arguments_digest:
            values = {"values": call.shown} if self._with_values and call.shown is not None else {}
            self._audit.call(
                call.call_id, str(call.caller), self._member(call), call.why,
                call.responder.outcome, call.arguments_digest, call.arguments_bytes, call.bytes_out,
                call.seconds(now), {**call.verdict, **values},
            )  # fmt: skip

    def _member(self, call: ServedCall) -> str:
        """Return what is called, of kept values as ``reference.get``."""
        return call.responder.target.removeprefix(self._offer.name).lstrip(".: ")

    def refused(self, caller: str, member: str, code: str, reason: str) -> None:
        """Take note of a request that was refused."""
        if self._audit is not None:
            self._audit.refused(caller, {"member": member, "outcome": code, "decision": reason[:500]})

    def close(self) -> None:
        """Write all that there is to write: the backend stops."""
        if self._audit is not None:
            self._audit.note("stops")
            self._end_log()

    def _end_log(self) -> None:
        if self._audit is not None:
            self._audit.close()
            self._audit = None
