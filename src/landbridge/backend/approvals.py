"""What came of calls and waits until the owner of the module has seen and accepted it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .. import wire
from ..errors import Busy, PermissionDenied, printable
from .preview import value_shown
from .running import Parts
from .threads import Pool
from .usage import RefusalLog

if TYPE_CHECKING:
    from ..security import Caller
    from .served import ServedCall

__all__ = ["SHARE", "WAITING", "WAITING_EACH", "WAITS_S", "Approvals", "Desk", "Verdict"]

_log = logging.getLogger(__name__)

WAITING_EACH = 100
"""Calls of one caller that may run or wait for approval at a time."""

WAITING = 1000
"""Calls of all callers together that may."""

SHARE = 4
"""What waits of one caller may take one part in so many of the bytes that may wait in all."""

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


@dataclass
class _Waiting:
    call: ServedCall
    size: int
    since: float
    told: bool = False  # whether the owner's log has said that it came


class Approvals:
    """The calls of one backend whose outcome has to be approved.

    All methods but `admit` are called in turns of one loop.

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
        self._bytes_of: Counter[Caller] = Counter()
        self._counting = threading.Lock()
        self._told = RefusalLog(_log)
        # Values are put together to be looked at, which takes as much memory again: one at a time, in turns of callers.
        self._looking = Pool(1)

    def check_room(self, target: str, caller: Caller) -> None:
        """Refuse a further call, before it runs.

        Raises
        ------
        Busy
            When too many wait.
        PermissionDenied
            When nobody can be asked.
        """
        with self._counting:
            self._check(target, caller)

    def admit(self, call: ServedCall) -> None:
        """Count in a call whose arguments have shown that its outcome has to be approved; called in threads.

        Raises
        ------
        Busy, PermissionDenied
            As `check_room` does.
        """
        with self._counting:
            if not call.has_ended and call.call_id not in self._open:
                self._check(call.responder.target, call.caller)
                self._enter(call)

    def _check(self, target: str, caller: Caller) -> None:
        if self._desk is None:
            raise self._unasked(target)
        if self._of[caller] >= WAITING_EACH:
            raise Busy(target, f"{WAITING_EACH} calls of {caller} run or wait for the approval of their owner")
        if len(self._open) >= WAITING:
            raise Busy(target, f"{WAITING:,} calls run or wait for the approval of their owner")
        if self._bytes_of[caller] >= self._limit_bytes // SHARE:
            raise Busy(target, f"{self._bytes_of[caller]:,} bytes for {caller} wait for the approval of their owner")
        if self._bytes_of.total() >= self._limit_bytes:
            raise Busy(target, f"{self._bytes_of.total():,} bytes wait for the approval of their owner")

    def enter(self, call: ServedCall) -> None:
        """Count in a call whose outcome will have to be approved."""
        with self._counting:
            if call.call_id not in self._open:
                self._enter(call)

    def _enter(self, call: ServedCall) -> None:
        self._open[call.call_id] = ""
        self._of[call.caller] += 1

    def leave(self, call: ServedCall) -> None:
        """Count out a call that has ended, and ask for nothing any more if it still waited."""
        with self._counting:
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
        try:
            self.admit(call)  # an error that came before its arguments were looked at: it may not be counted yet
            self._check_bytes(call, held.size)
        except Busy as error:
            call.act(call.responder.refuse(error, loop.time()))
            return
        while (item := secrets.token_hex(4)) in self._waiting:
            pass
        self._open[call.call_id] = item
        self._waiting[item] = _Waiting(call, held.size, loop.time())
        with self._counting:
            self._bytes_of[call.caller] += held.size
        self._tell(loop.time())
        said = {
            "id": item,
            "module": self._module,
            "member": call.member,
            "caller": str(call.caller),
            "call": call.call_id,
            "since": stamp(),
            "arguments": call.shown,
        }
        try:
            # Looking at a large value takes its time, and so does the disk. In a thread of its own: those that the loop
            # has for all are those that find out where the broker is.
            self._looking.submit(partial(self._show, desk, item, said, call, loop), call.caller)
        except RuntimeError as error:  # no thread is to be had
            self._laid(item, error, loop)

    def _check_bytes(self, call: ServedCall, size: int) -> None:
        # How many bytes it has is not said: nobody has approved that.
        if self._bytes_of[call.caller] + size > self._limit_bytes // SHARE:
            limit = f"{self._limit_bytes // SHARE:,} bytes for {call.caller}"
        elif self._bytes_of.total() + size > self._limit_bytes:
            limit = f"{self._limit_bytes:,} bytes"
        else:
            return
        raise Busy(call.responder.target, f"no more than {limit} wait for the approval of their owner at a time")

    def _tell(self, now: float) -> None:
        """Say in the owner's log what has come, of each caller one line in some seconds."""
        untold: dict[Caller, list[_Waiting]] = {}
        for each in self._waiting.values():
            if not each.told and self._told.is_due(str(each.call.caller), now):
                untold.setdefault(each.call.caller, []).append(each)
        for caller, found in untold.items():
            more = f" and of {len(found) - 1:,} more of his calls" if found[1:] else ""
            what = f"what came of {found[0].call.responder.target}{more} waits for you: landbridge approve"
            self._told.note(str(caller), what, now)
            for each in found:
                each.told = True

    def _unasked(self, target: str) -> PermissionDenied:
        return PermissionDenied(
            f"{target} needs the approval of its owner, and this backend has nowhere to ask. Ask {self._owner} to "
            f"serve it with: landbridge serve FILE --as {self._module}"
        )

    def _show(
        self, desk: Desk, item: str, said: dict[str, Any], call: ServedCall, loop: asyncio.AbstractEventLoop
    ) -> None:
        error: BaseException | None = None
        try:
            self._lay(desk, item, said, call)
        except BaseException as caught:  # no memory to put it together, say
            error = caught
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(self._laid, item, error, loop)

    def _lay(self, desk: Desk, item: str, said: dict[str, Any], call: ServedCall) -> None:
        # Whoever calls and cancels, faster than this can be done, is not to have us hold what came of it.
        if (held := call.held) is None:
            return
        if (error := held.error) is not None:
            type_name, text = (printable(error.get(key, ""), 2000) for key in ("type", "text"))
            said["result"] = {"type": f"error {type_name or error['code']}", "bytes": len(text), "preview": text}
        else:
            said["result"] = _looked_at(held.parts, held.size)
        desk.lay(item, said)

    def _laid(self, item: str, error: BaseException | None, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting.get(item)
        if error is not None:
            _log.error("what waits for approval cannot be shown to its owner: %s", printable(error, 200))
            if waiting is not None:
                call = waiting.call
                why = "its backend cannot show its owner what came of it, which has to be approved"
                call.act(call.responder.refuse(Busy(call.responder.target, why), loop.time()))
        elif waiting is None and self._desk is not None:
            self._desk.clear(item)  # the call ended while it was written

    def look(self, now: float) -> None:
        """Do what the owner has decided since; called some times a second."""
        if self._desk is None or not self._waiting:
            return
        self._tell(now)
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
        waiting = self._waiting.pop(item, None)
        if waiting is None:
            return
        with self._counting:
            self._bytes_of[waiting.call.caller] -= waiting.size
            if not self._bytes_of[waiting.call.caller]:
                del self._bytes_of[waiting.call.caller]
        if self._desk is not None:
            self._desk.clear(item)

    def close(self) -> None:
        """Ask for nothing any more: the backend stops."""
        self._looking.close()
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
