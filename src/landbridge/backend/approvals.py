"""What came of calls and waits until the owner of the module has seen and accepted it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .. import wire
from ..errors import Busy, PermissionDenied, printable
from .preview import value_shown
from .running import Parts
from .usage import RefusalLog

if TYPE_CHECKING:
    from ..security import Caller
    from .served import ServedCall

__all__ = ["WAITING", "WAITING_EACH", "WAITS_S", "Approvals", "Desk", "Verdict"]

_log = logging.getLogger(__name__)

WAITING_EACH = 100
"""Calls of one caller that may run or wait for approval at a time."""

WAITING = 1000
"""Calls of all callers together that may."""

WAITS_S = 7 * 24 * 3600.0
"""How long something waits for its owner, in seconds; then it is refused."""

_REASON_CHARS = 500


class Verdict(NamedTuple):
    """What the owner has decided of what waits under an id, and the reason that the caller is told."""

    item: str
    accepted: bool
    because: str = ""


class Desk(Protocol):
    """Where the owner of a module sees what waits, and decides."""

    def lay(self, item: str, said: dict[str, Any]) -> None:
        """Put something there, to be seen; called in threads. Raises `OSError` when it cannot be."""

    def verdicts(self) -> Iterable[Verdict]:
        """Return what has been decided since this was last asked."""

    def clear(self, item: str) -> None:
        """Take something away: nothing is to be decided any more."""

    def close(self) -> None:
        """Take everything away."""


@dataclass(frozen=True)
class _Waiting:
    call: ServedCall
    size: int
    since: float


class Approvals:
    """The calls of one backend whose outcome has to be approved. All methods are called in turns of one loop.

    Parameters
    ----------
    module : str
        ``institute/module``.
    desk : Desk or None
        Where its owner is asked; without it nobody can be, and such calls are refused.
    limit_bytes : int
        How many bytes of results may wait, of all callers together.
    """

    def __init__(self, module: str, desk: Desk | None, limit_bytes: int) -> None:
        self._module, self._owner = module, module.partition("/")[0]
        self._desk, self._limit_bytes = desk, limit_bytes
        self._open: dict[str, str] = {}  # by id of the call, under which id it waits, if it does already
        self._of: Counter[Caller] = Counter()
        self._waiting: dict[str, _Waiting] = {}
        self._told = RefusalLog(_log)
        # Values are put together to be looked at, which takes as much memory again: one at a time.
        self._looking = threading.Lock()

    def check_room(self, target: str, caller: Caller) -> None:
        """Refuse a further call, before it runs.

        Raises
        ------
        Busy
            When too many wait.
        PermissionDenied
            When nobody can be asked.
        """
        if self._desk is None:
            raise self._unasked(target)
        if self._of[caller] >= WAITING_EACH:
            raise Busy(target, f"{WAITING_EACH} calls of {caller} run or wait for the approval of their owner")
        if len(self._open) >= WAITING:
            raise Busy(target, f"{WAITING:,} calls run or wait for the approval of their owner")

    def enter(self, call: ServedCall) -> None:
        """Count in a call whose outcome will have to be approved."""
        if call.call_id not in self._open:
            self._open[call.call_id] = ""
            self._of[call.caller] += 1

    def leave(self, call: ServedCall) -> None:
        """Count out a call that has ended, and ask for nothing any more if it still waited."""
        item = self._open.pop(call.call_id, None)
        if item is None:
            return
        self._of[call.caller] -= 1
        if not self._of[call.caller]:
            del self._of[call.caller]
        if item:
            self._forget(item)

    def ask(self, call: ServedCall, loop: asyncio.AbstractEventLoop) -> None:
        """Show the owner what came of a call, which waits from now on."""
        desk, held = self._desk, call.held
        if held is None:
            return
        if desk is None:
            call.act(call.responder.refuse(self._unasked(call.responder.target), loop.time()))
            return
        if sum(each.size for each in self._waiting.values()) + held.size > self._limit_bytes:
            why = f"{self._limit_bytes:,} bytes wait for the approval of their owner"
            call.act(call.responder.refuse(Busy(call.responder.target, why), loop.time()))
            return
        while (item := secrets.token_hex(4)) in self._waiting:
            pass
        self._open[call.call_id] = item
        self._waiting[item] = _Waiting(call, held.size, loop.time())
        self._told.note(
            str(call.caller), f"what came of {call.responder.target} waits for you: landbridge approve", loop.time()
        )
        said = {
            "id": item,
            "module": self._module,
            "member": call.member,
            "caller": str(call.caller),
            "call": call.call_id,
            "since": stamp(),
            "arguments": call.shown or {},
        }
        # Looking at a large value takes its time, and so does the disk.
        laid = loop.run_in_executor(None, self._lay, desk, item, said, call)
        laid.add_done_callback(partial(self._laid, item))

    def _unasked(self, target: str) -> PermissionDenied:
        return PermissionDenied(
            f"{target} needs the approval of its owner, and this backend has nowhere to ask. Ask {self._owner} to "
            f"serve it with: landbridge serve FILE --as {self._module}"
        )

    def _lay(self, desk: Desk, item: str, said: dict[str, Any], call: ServedCall) -> None:
        # Whoever calls and cancels, faster than this can be done, is not to have us hold what came of it.
        if (held := call.held) is None:
            return
        if (error := held.error) is not None:
            type_name, text = (printable(error.get(key, ""), 2000) for key in ("type", "text"))
            said["result"] = {"type": f"error {type_name or error['code']}", "bytes": len(text), "preview": text}
        else:
            with self._looking:
                said["result"] = _looked_at(held.parts, held.size)
        desk.lay(item, said)

    def _laid(self, item: str, laid: asyncio.Future[None]) -> None:
        error = None if laid.cancelled() else laid.exception()
        waiting = self._waiting.get(item)
        if error is not None:
            _log.error("what waits for approval cannot be shown to its owner: %s", printable(error, 200))
            if waiting is not None:
                call = waiting.call
                why = "its backend cannot show its owner what came of it, which has to be approved"
                call.act(call.responder.refuse(Busy(call.responder.target, why), laid.get_loop().time()))
        elif waiting is None and self._desk is not None:
            self._desk.clear(item)  # the call ended while it was written

    def look(self, now: float) -> None:
        """Do what the owner has decided since; called some times a second."""
        if self._desk is None or not self._waiting:
            return
        for verdict in self._desk.verdicts():
            waiting = self._waiting.get(verdict.item)
            if waiting is not None:
                self._forget(verdict.item)
                self._decided(waiting.call, verdict.accepted, printable(verdict.because, _REASON_CHARS), now)
        for item, waiting in list(self._waiting.items()):
            if now - waiting.since >= WAITS_S:
                self._forget(item)
                call = waiting.call
                text = (
                    f"Nobody at {self._owner} has approved what came of {call.responder.target} within "
                    f"{WAITS_S / 86400:g} days, so it was dropped. Ask {self._owner}, then call again."
                )
                call.verdict = {"approval": "nobody has decided", "approval_at": stamp()}
                call.act(call.responder.refuse(PermissionDenied(text), now))

    def _decided(self, call: ServedCall, accepted: bool, because: str, now: float) -> None:
        call.verdict = {"approval": "approved" if accepted else "refused", "approval_at": stamp()}
        if because:
            call.verdict["approval_because"] = because
        if accepted:
            call.let_go()
            return
        text = (
            f"{self._owner} has looked at what came of {call.responder.target}, and does not let it go"
            f"{f': {because}' if because else ''}. Ask {self._owner} what may."
        )
        call.act(call.responder.refuse(PermissionDenied(text), now))

    def _forget(self, item: str) -> None:
        if self._waiting.pop(item, None) is not None and self._desk is not None:
            self._desk.clear(item)

    def close(self) -> None:
        """Ask for nothing any more: the backend stops."""
        if self._desk is not None:
            self._desk.close()


def stamp() -> str:
    """Return the time of now, as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _looked_at(parts: Parts, size: int) -> dict[str, Any]:
    """Return what is shown of an encoded value: what was sent is looked at, not what it was made of."""
    try:
        return value_shown(wire.decode(wire.joined(parts)), size)
    except Exception as error:  # of a type of its owner's, say
        _log.warning("a value that waits for approval cannot be shown: %s", printable(error, 200))
        return {"type": "unknown", "bytes": size, "preview": f"it cannot be shown ({type(error).__name__})"}
