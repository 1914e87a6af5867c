"""Results that stay here: who holds a reference to them, how long they live, and when they go to disk."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .. import wire
from ..errors import Busy, ObjectGone, PermissionDenied
from ..protocol import LEASE_S
from ..security import Caller, Grant, KeyPair, read_grant, sign_grant
from .expose import Verbs
from .spill import SpillFolder
from .summary import is_lazy, summary_of
from .threads import Pool

__all__ = ["EACH", "WHY_GONE", "Kept", "Limits", "References"]

_log = logging.getLogger(__name__)

EACH = 20_000
"""References that one caller may hold at a backend."""

_GRANT_S = 600
_PINNED_SHARE = 2
_CONNECTIONS_EACH = 1000
"""From how many connections a caller may hold values; of more, the oldest no longer do."""

_FROM_BEFORE = ""
"""Stands for the connections that held a value before this backend was started anew."""


@dataclass(frozen=True)
class Limits:
    """How much is kept.

    Attributes
    ----------
    memory_bytes : int
        In memory; what was used least recently goes to disk first.
    disk_bytes : int
        On disk.
    each_bytes : int
        For one caller, in memory and on disk.
    """

    memory_bytes: int
    disk_bytes: int = 32 * 2**30
    each_bytes: int = 16 * 2**30


Session = tuple[Caller, str]
"""One connection of a caller: what it holds is let go of when it has not been heard of for the length of a lease."""


@dataclass(eq=False)
class Kept:
    """One value that stays here.

    Attributes
    ----------
    value_id : str
        Its id.
    caller : Caller
        Who had it made.
    member : str
        What made it.
    size : int
        Bytes of its frame; 0 for a lazy one, which stays as it is.
    summary : dict
        What is said of it.
    frame : memoryview or None
        The value as on the wire, if it is in memory.
    lazy : object
        The value itself, if it is lazy.
    folder : SpillFolder or None
        Where it is on disk, if it is.
    sessions : set
        Who holds it.
    pinned_until : float
        Until when it is kept in any case, in seconds since 1970 UTC.
    granted_until : float
        Until when somebody else may fetch it, in seconds since 1970 UTC.
    used : float
        When it was last asked for, for choosing what goes to disk.
    opened : mapping or None
        What can be asked of it as of a data set, once that was asked.
    """

    value_id: str
    caller: Caller
    member: str
    size: int
    summary: dict[str, Any]
    frame: memoryview | None = None
    lazy: object = None
    folder: SpillFolder | None = None
    sessions: set[Session] = field(default_factory=set)
    pinned_until: float = 0.0
    granted_until: float = 0.0
    used: float = 0.0
    opened: Verbs | None = None

    @property
    def spilled(self) -> bool:
        """Whether it is on disk."""
        return self.folder is not None

    def value(self) -> object:
        """Return the value; its arrays are views of what is kept, and cannot be written to.

        Raises
        ------
        FileNotFoundError
            When it was let go of since it was found.
        """
        frame = self.frame
        if frame is None and self.folder is not None:  # in this order: it may be put on disk meanwhile
            frame = self.folder.map(self.value_id)
        return self.lazy if frame is None else wire.decode(frame.toreadonly(), read_only=True)

    def record(self) -> dict[str, Any]:
        """Return what is noted beside it on disk."""
        return {
            "caller": list(self.caller),
            "member": self.member,
            "summary": self.summary,
            "pinned_until": self.pinned_until,
            "granted_until": self.granted_until,
        }


class References:
    """The values that one backend keeps for its callers.

    Parameters
    ----------
    module : str
        ``institute/module``.
    instance : str
        The backend.
    limits : Limits
        How much is kept.
    key : KeyPair
        Signs grants. A backend that takes the place of another of the same module has the same.
    folder : SpillFolder or None
        Where values go that memory has no room for; None: nowhere.
    """

    def __init__(self, module: str, instance: str, *, limits: Limits, key: KeyPair, folder: SpillFolder | None) -> None:
        self._module, self._instance, self._limits = module, instance, limits
        self._key, self._folder = key, folder
        self._kept: dict[str, Kept] = {}
        self._held: dict[Session, set[str]] = {}
        self._leases: dict[Session, float] = {}
        self._connections_of: dict[Caller, dict[str, None]] = {}
        # Held for moments only, as the loop that does the I/O waits for it, too. Values are kept by the threads that
        # made them, and written to disk by them: one at a time, under a lock that nobody else waits for.
        self._lock = threading.RLock()
        self._spilling = threading.Lock()
        self._tidying = Pool(1)
        self._unheld: set[str] = set()
        self._memory = self._disk = 0
        self._count_of: Counter[Caller] = Counter()
        self._bytes_of: Counter[Caller] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def take_up(self, now: float) -> None:
        """Take up what an earlier run of this backend has left on disk.

        It is held for its caller, whatever connection held it, for the time of a lease, and for as long as any
        connection of that caller renews its own.
        """
        if self._folder is None:
            return
        for value_id, size, record in self._folder.records():
            try:
                kept = _from_record(value_id, size, record, self._folder)
            except (LookupError, TypeError, ValueError):
                self._folder.remove(value_id)
                continue
            with self._lock:
                self._add(kept)
                self._hold(kept, (kept.caller, _FROM_BEFORE), now)

    def keep(self, value: object, caller: Caller, session: str, member: str, now: float) -> wire.ReferenceData:
        """Keep a value that a method has returned, and return what its caller gets instead.

        Raises
        ------
        CannotTravel
            When the value could not be sent, either: what is kept could never be had.
        Busy
            When the caller keeps too much here, or there is no room.
        """
        value_id = secrets.token_hex(16)
        if is_lazy(value):
            kept = Kept(value_id, caller, member, 0, summary_of(value, None), lazy=value)
        else:
            parts = wire.encode(value)
            size = wire.size_bytes(parts)
            self._check_room(member, caller, size)
            kept = Kept(value_id, caller, member, size, summary_of(value, size), frame=wire.joined(parts))
        kept.used = now
        with self._lock:
            self._check_room(member, caller, kept.size)
            self._add(kept)
            self._hold(kept, (caller, session), now)
        try:
            self._make_room(f"{self._module}.{member}")
        except BaseException:
            with self._lock:
                self._drop(kept)
            raise
        return self.data(kept)

    def data(self, kept: Kept) -> wire.ReferenceData:
        """Return what travels of a value."""
        return wire.ReferenceData(self._module, kept.member, self._instance, kept.value_id, kept.summary)

    def find(
        self, value_id: str, caller: Caller, session: str | None, grant: str | None, what: str, now: float
    ) -> Kept:
        """Return a value that `caller` may have; the connection that asks, if it is the caller's own, holds it now.

        Raises
        ------
        ObjectGone
            When it is not here, or was made for somebody else and no grant is shown.
        PermissionDenied
            When the grant that is shown is not for this, or has ended.
        """
        with self._lock:
            kept = self._kept.get(value_id)
            if kept is None or (grant is None and kept.caller != caller):
                raise ObjectGone(f"The value of {self._module} whose {what} was asked for", WHY_GONE)
            kept.used = now
            if grant is None and session is not None:
                self._hold(kept, (caller, session), now)
                self._let_go(kept, (caller, _FROM_BEFORE))
        if grant is not None:
            self._check_grant(kept, caller, grant)
        return kept

    def _check_grant(self, kept: Kept, caller: Caller, text: str) -> None:
        grant = read_grant(text, self._key.public, now=time.time())
        for_this = (grant.module, grant.value_id) == (self._module, kept.value_id)
        # Whoever serves a module there: the institute itself, or one of its people. Which, only the institute knows.
        if not for_this or caller.institute != grant.institute:
            raise PermissionDenied(
                f"The grant that {caller} shows is for a backend of {grant.institute} to have another value, or for "
                "another institute. Pass the reference itself to the method that is to have it."
            )

    def grant(self, kept: Kept, institute: str) -> str:
        """Return a grant for the backends of an institute; the value is kept until it ends."""
        until = int(time.time()) + _GRANT_S
        kept.granted_until = max(kept.granted_until, until)
        return sign_grant(Grant(self._module, kept.value_id, institute, until, str(kept.caller)), self._key)

    def pin(self, kept: Kept, days: float) -> None:
        """Keep a value for some days in any case, over a restart too; 0 ends that.

        Raises
        ------
        Busy
            When there is no room on disk.
        """
        target = f"{self._module}.{kept.member}"
        if kept.frame is None and not kept.spilled:
            raise Busy(target, "its value is lazy, and only what has been computed can be pinned")
        before, kept.pinned_until = kept.pinned_until, time.time() + days * 86_400 if days else 0.0
        try:
            with self._spilling:
                self._check_pins(kept, target)
                if not kept.spilled and days:
                    self._spill(kept, target)
                elif kept.spilled:
                    self._note(kept, target)
            if kept.value_id not in self._kept:
                raise ObjectGone(f"The value of {self._module} that was to be pinned", WHY_GONE)
        except BaseException:
            kept.pinned_until = before
            raise

    def _check_pins(self, kept: Kept, target: str) -> None:
        with self._lock:
            now = time.time()
            own = [each.size for each in self._kept.values() if each.caller == kept.caller and each.pinned_until > now]
        limit = self._limits.each_bytes // _PINNED_SHARE
        if kept.pinned_until and sum(own) > limit:  # what is kept for longer must leave room for what is not
            raise Busy(target, f"{kept.caller} would have {sum(own):,} bytes pinned; at most {limit:,} can be")

    def renew(self, caller: Caller, session: str, now: float) -> None:
        """Take note that a caller's connection is still there."""
        with self._lock:
            for held in ((caller, session), (caller, _FROM_BEFORE)):
                if held in self._leases:
                    self._leases[held] = now + LEASE_S

    def release(self, value_id: str, caller: Caller, session: str) -> None:
        """Take note that a connection no longer holds a value; it goes when nobody does and nothing else keeps it."""
        with self._lock:
            kept = self._kept.get(value_id)
            if kept is not None and kept.caller == caller:
                self._let_go(kept, (caller, session))
                self._let_go(kept, (caller, _FROM_BEFORE))
                self._drop_if_free(kept)

    def expire(self, now: float) -> None:
        """Let go of what nobody has a lease for any more."""
        with self._lock:
            for session in [session for session, until in self._leases.items() if now >= until]:
                self._end(session)
            for value_id in list(self._unheld):
                self._drop_if_free(self._kept[value_id])

    def close(self) -> None:
        """Let the thread end; what is on disk stays there."""
        self._tidying.close()

    def _add(self, kept: Kept) -> None:
        self._kept[kept.value_id] = kept
        self._count_of[kept.caller] += 1
        self._bytes_of[kept.caller] += kept.size
        if kept.spilled:
            self._disk += kept.size
        else:
            self._memory += kept.size

    def _hold(self, kept: Kept, session: Session, now: float) -> None:
        if session not in self._leases:
            caller = session[0]
            own = self._connections_of.setdefault(caller, {})
            if len(own) >= _CONNECTIONS_EACH:
                self._end((caller, next(iter(own))))
            own[session[1]] = None
        kept.sessions.add(session)
        self._unheld.discard(kept.value_id)
        self._held.setdefault(session, set()).add(kept.value_id)
        self._leases[session] = now + LEASE_S

    def _end(self, session: Session) -> None:
        """Take note that a connection holds nothing any more."""
        self._leases.pop(session, None)
        caller, connection = session
        own = self._connections_of.get(caller, {})
        own.pop(connection, None)
        if not own:
            self._connections_of.pop(caller, None)
        for value_id in list(self._held.get(session, ())):
            self._let_go(self._kept[value_id], session)
        self._held.pop(session, None)

    def _let_go(self, kept: Kept, session: Session) -> None:
        held = self._held.get(session)
        if held is None:
            return
        held.discard(kept.value_id)
        kept.sessions.discard(session)
        if not kept.sessions and kept.value_id in self._kept:
            self._unheld.add(kept.value_id)

    def _drop_if_free(self, kept: Kept) -> None:
        if not kept.sessions and time.time() >= max(kept.pinned_until, kept.granted_until):
            self._drop(kept)

    def _drop(self, kept: Kept) -> None:
        if self._kept.pop(kept.value_id, None) is None:
            return
        self._unheld.discard(kept.value_id)
        for session in kept.sessions:
            self._held[session].discard(kept.value_id)
        self._count_of[kept.caller] -= 1
        self._bytes_of[kept.caller] -= kept.size
        if kept.spilled:
            self._disk -= kept.size
            self._remove(kept.value_id)
        else:
            self._memory -= kept.size

    def _check_room(self, member: str, caller: Caller, size: int) -> None:
        target = f"{self._module}.{member}"
        count, own = self._count_of[caller], self._bytes_of[caller]
        if count >= EACH:
            raise Busy(target, f"{caller} keeps {count:,} values at this backend already; release some")
        if own + size > self._limits.each_bytes:
            raise Busy(
                target,
                f"{caller} keeps {own:,} bytes at this backend, and {size:,} more would be beyond the "
                f"{self._limits.each_bytes:,} that one caller may; release some",
            )
        if size > self._limits.memory_bytes and self._folder is None:
            raise Busy(target, f"a value of {size:,} bytes has no room at this backend")

    def _remove(self, value_id: str) -> None:
        if self._folder is not None:
            self._tidying.submit(partial(self._folder.remove, value_id))  # taking away a large file takes its time

    def _make_room(self, target: str) -> None:
        """Put what was used least recently on disk until the rest fits into memory."""
        if self._memory <= self._limits.memory_bytes:
            return
        with self._spilling:
            with self._lock:
                in_memory = [kept for kept in self._kept.values() if kept.frame is not None and not kept.spilled]
            for kept in sorted(in_memory, key=lambda kept: kept.used):
                if self._memory <= self._limits.memory_bytes:
                    return
                self._spill(kept, target)

    def _spill(self, kept: Kept, target: str) -> None:
        """Put one value on disk; whoever calls this holds the lock for that, and not the other."""
        with self._lock:
            if kept.value_id not in self._kept or kept.frame is None:
                return
            if self._folder is None or self._disk + kept.size > self._limits.disk_bytes:
                raise Busy(target, "there is no room for a further value at this backend; release some")
            self._disk += kept.size
            frame, record = kept.frame, kept.record()
        try:
            self._folder.write(kept.value_id, frame, record)
        except OSError as error:
            with self._lock:
                self._disk -= kept.size
            raise _disk_fails(target, error) from None
        with self._lock:
            if kept.value_id not in self._kept:  # let go of meanwhile
                self._disk -= kept.size
                self._remove(kept.value_id)
                return
            kept.folder = self._folder  # before the frame goes: whoever reads it now finds one or the other
            kept.frame = None
            kept.opened = None  # which holds the memory that is to become free
            self._memory -= kept.size

    def _note(self, kept: Kept, target: str) -> None:
        if self._folder is None:
            return
        with self._lock:
            record = kept.record()
        try:
            self._folder.note(kept.value_id, record)
        except OSError as error:
            raise _disk_fails(target, error) from None


def _disk_fails(target: str, error: OSError) -> Busy:
    _log.error("a kept value could not be written to disk: %s", error)
    return Busy(target, f"its backend cannot write to its disk ({error.strerror or error})")


WHY_GONE = (
    "it was released, whoever held it was not heard of for ten minutes, its backend was started anew, or it was made "
    "for somebody else. To keep one for longer, pin it"
)


def _from_record(value_id: str, size: int, record: dict[str, Any], folder: SpillFolder) -> Kept:
    institute, person = record["caller"]
    return Kept(
        value_id,
        Caller(str(institute), str(person)),
        str(record["member"]),
        size,
        dict(record["summary"]),
        folder=folder,
        pinned_until=float(record["pinned_until"]),
        granted_until=float(record["granted_until"]),
    )
