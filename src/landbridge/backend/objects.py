"""Objects that callers have made of exposed classes: they live here for their caller's lease, and for him alone."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import Busy, ObjectGone
from ..protocol import LEASE_S
from ..security import Caller
from .admission import Admission
from .running import Style
from .threads import Pool

if TYPE_CHECKING:
    from .offer import Served
    from .served import ServedCall

__all__ = ["OBJECTS", "OBJECTS_EACH", "KeptObject", "Objects"]

OBJECTS_EACH = 100
"""Objects that one caller may have at a backend."""

OBJECTS = 2000
"""Objects that all callers together may have."""

_WAITING = 1000


@dataclass(slots=True)
class KeptObject:
    """An object of a caller.

    Attributes
    ----------
    value : object
        The object itself.
    class_name : str
        The name of its class in the module.
    caller : Caller
        Whose it is.
    admission : Admission
        Lets one plain method of it run at a time: few classes are made for more.
    until : float
        When its lease ends.
    calls : int
        Calls of its methods that are open.
    released : bool
        Whether nobody can call it any more; it goes when its last call has ended.
    """

    value: Any
    class_name: str
    caller: Caller
    admission: Admission[ServedCall]
    until: float
    calls: int = 0
    released: bool = False


class Objects:
    """The objects of one backend.

    An object whose time is over goes in a thread of its own: what its class does then (closing files, say) may take
    long, and must keep nobody from being served.

    Parameters
    ----------
    module : str
        ``institute/module``.
    instance : str
        The backend.
    """

    def __init__(self, module: str, instance: str) -> None:
        self._module, self._instance = module, instance
        self._objects: dict[str, KeptObject] = {}
        self._lock = threading.Lock()  # objects are made in the threads that run their constructors
        self._tidying = Pool(1)

    def __len__(self) -> int:
        return len(self._objects)

    def check_room(self, class_name: str, caller: Caller) -> None:
        """Refuse a further object of this caller; raises `Busy`."""
        target = f"{self._module}.{class_name}"
        own = sum(kept.caller == caller for kept in list(self._objects.values()))
        if own >= OBJECTS_EACH:
            raise Busy(target, f"{caller} has {own} objects at this backend already")
        if len(self._objects) >= OBJECTS:
            raise Busy(target, f"{OBJECTS:,} objects live at this backend already")

    def keep(self, value: Any, class_name: str, caller: Caller, now: float) -> dict[str, str]:
        """Keep a new object, and return what its caller needs to find it again; raises `Busy`."""
        with self._lock:
            self.check_room(class_name, caller)
            object_id = secrets.token_hex(16)
            admission: Admission[ServedCall] = Admission(f"{self._module}.{class_name}", concurrency=1, queue=_WAITING)
            self._objects[object_id] = KeptObject(value, class_name, caller, admission, now + LEASE_S)
        return {"object": object_id, "instance": self._instance}

    def find(self, object_id: str, caller: Caller, method: str, now: float) -> KeptObject:
        """Return an object of this caller, and renew its lease.

        Raises
        ------
        ObjectGone
            When it is not there, or somebody else's.
        """
        kept = self._objects.get(object_id)
        if kept is None or kept.caller != caller:
            why = f"it was released, nobody used it for {LEASE_S:g} s, or its backend was started anew"
            raise ObjectGone(f"The object of {self._module} whose {method} was called", why)
        kept.until = now + LEASE_S
        return kept

    def release(self, object_id: str, caller: Caller) -> None:
        """Let go of an object, if it is this caller's; calls of its methods that run go on."""
        with self._lock:
            kept = self._objects.get(object_id)
            if kept is None or kept.caller != caller:
                return
            del self._objects[object_id]
        self._released(kept)

    def expire(self, now: float) -> None:
        """Let go of objects whose lease has ended, but for those that are in use."""
        with self._lock:
            over = [object_id for object_id, kept in self._objects.items() if now >= kept.until and not kept.calls]
            gone = [self._objects.pop(object_id) for object_id in over]
        for kept in gone:
            self._released(kept)

    def constructing(
        self, served: Served, caller: Caller, clock: Callable[[], float]
    ) -> tuple[Served, Callable[[str], None]]:
        """Return how a constructor makes an object that is kept, and what to call with the outcome of its call.

        Whoever does not hear that the object was made can never release it, so it is let go of at once.
        """
        make, name = served.method.function, served.method.spec.name
        self.check_room(name, caller)
        made: list[str] = []

        def make_and_keep(*args: Any, **kwargs: Any) -> dict[str, str]:
            kept = self.keep(make(*args, **kwargs), name, caller, clock())
            made.append(kept["object"])
            return kept

        def ended(outcome: str) -> None:
            if outcome != "ok":
                for object_id in made:
                    self.release(object_id, caller)

        return replace(served, function=make_and_keep), ended

    def using(
        self, served: Served, kept: KeptObject, clock: Callable[[], float]
    ) -> tuple[Served, Callable[[str], None]]:
        """Return how a method runs with its object, and what to call when its call has ended; `use` says it began."""
        method = served.method.function

        def run(*args: Any, **kwargs: Any) -> Any:
            return method(kept.value, *args, **kwargs)

        def ended(outcome: str) -> None:
            kept.calls -= 1
            kept.until = clock() + LEASE_S
            if kept.released:
                self._let_go(kept)

        if served.style is Style.FUNCTION:
            return replace(served, function=run, admissions=(kept.admission, *served.admissions)), ended
        return replace(served, function=run), ended

    def use(self, kept: KeptObject) -> None:
        """Take note that a call of a method of an object is open now."""
        kept.calls += 1

    def close(self) -> None:
        """Let the thread end."""
        self._tidying.close()

    def _released(self, kept: KeptObject) -> None:
        kept.released = True
        self._let_go(kept)

    def _let_go(self, kept: KeptObject) -> None:
        if kept.calls:
            return
        last, kept.value = [kept.value], None
        with suppress(RuntimeError):  # no thread to be had: it goes here
            self._tidying.submit(partial(last.clear))
