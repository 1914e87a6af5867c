"""What a connection knows of the modules of its network, from the catalogue and from what they say of themselves."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable

from ..broker import Message as Delivered
from ..errors import LandbridgeError, Malformed, ModuleOffline, UnknownModule
from ..names import nearest
from ..protocol import PRESENCE_SILENCE_S, parse_catalogue, unpack_presence

__all__ = ["Directory"]

_log = logging.getLogger(__name__)
_INSTANCES_KEPT = 1000
_MODULES_TAKEN = 100_000
_RESTARTS_APART_S = 1.0


class Directory:
    """The modules that are known, those offline too.

    Parameters
    ----------
    on_module : callable, optional
        Told ``institute/module`` whenever a module or a new backend of it shows up.
    on_restart : callable
        Told the module and the instance of a backend that has been started anew, and whether it is the only one.

    Attributes
    ----------
    modules : dict
        The instances that were heard of, by ``institute/module``.
    """

    def __init__(
        self, on_module: Callable[[str], object] | None, on_restart: Callable[[str, str, bool], object]
    ) -> None:
        self.modules: dict[str, set[str]] = {}
        self._on_module, self._on_restart = on_module, on_restart
        # Of each backend, by its module: an id that another module's backend claims says nothing of this one.
        self._runs: dict[str, dict[str, str]] = {}
        self._restarted_at: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}

    def take_catalogue(self, pages: list[object], now: float) -> None:
        """Take the pages that the broker's catalogue gave; what is no entry is left out.

        It has heard lately of the backends that it counts, and we may not hear of them ourselves for some seconds.
        """
        listed = (entry for page in pages if isinstance(page, list) for entry in page)
        for entry in itertools.islice(listed, _MODULES_TAKEN):
            if isinstance(entry, dict) and isinstance(entry.get("module"), str):
                institute, _, module = entry["module"].partition("/")
                with contextlib.suppress(Malformed):
                    parse_catalogue(f"lb.cat.{institute}.{module}")
                    if self._note(f"{institute}/{module}", None) and _is_count(entry.get("backends")):
                        self._heard_at.setdefault(f"{institute}/{module}", now)

    def presence_arrived(self, delivered: Delivered, now: float) -> None:
        """Take what a module says of itself."""
        try:
            institute, module = parse_catalogue(delivered.subject)
            presence = unpack_presence(delivered.payload)
        except Malformed as error:
            _log.debug("ignored a catalogue entry: %s", error.reason)
            return
        name = f"{institute}/{module}"
        if name not in self.modules and len(self.modules) >= _MODULES_TAKEN:
            return  # names without number would be somebody's who wants our memory
        if not presence.serving:
            self._heard_at.pop(name, None)
            return
        if not self._note(name, presence.instance):
            return
        self._heard_at[name] = now
        runs = self._runs.setdefault(name, {})
        before = runs.get(presence.instance)
        if before == presence.run:
            return
        if before is not None:
            # Each restart has calls ask their backend, so one who announces them without end must not set the pace. A
            # true one is still to be seen in the next announcement.
            if now - self._restarted_at.get(name, -_RESTARTS_APART_S) < _RESTARTS_APART_S:
                return
            self._restarted_at[name] = now
        elif len(runs) >= _INSTANCES_KEPT:
            runs.clear()
        runs[presence.instance] = presence.run
        if before is not None:
            self._on_restart(name, presence.instance, len(self.modules[name]) == 1)

    def _note(self, name: str, instance: str | None) -> bool:
        """Take note of a module and a backend of it; False when there is no place for it."""
        known = self.modules.get(name)
        if known is not None and (instance is None or instance in known):
            return True
        if known is None and len(self.modules) >= _MODULES_TAKEN:
            return False
        known = self.modules.setdefault(name, set())
        if instance is not None:
            if len(known) >= _INSTANCES_KEPT:
                known.clear()
            known.add(instance)
        if self._on_module is not None:
            self._on_module(name)
        return True

    def was_there(self, name: str, now: float) -> bool:
        """Whether a module was served a moment ago and has not said that it stops: it may be restarting."""
        return now - self._heard_at.get(name, -PRESENCE_SILENCE_S) < PRESENCE_SILENCE_S

    def was_deaf(self, seconds: float) -> None:
        """Take note that for so long nobody could be heard, for want of a connection: it says nothing about them."""
        for name in self._heard_at:
            self._heard_at[name] += seconds

    def offline_error(self, name: str) -> LandbridgeError:
        """Return what to say when nobody receives a request to module `name`."""
        if name in self.modules or name.startswith("lb/"):
            return ModuleOffline(name)
        return UnknownModule(name, nearest(name, self.modules), sorted(self.modules))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0
