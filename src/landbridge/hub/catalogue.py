"""The catalogue of a network: which modules there are, and which of them are served now.

Backends announce themselves under ``lb.cat.<I>.<M>``, where only they may publish. The keeper, which runs beside the
broker, remembers what it heard and answers for it as module ``lb/catalogue``, so that modules which are offline
are known, too.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..broker import Connection
from ..broker import Message as Delivered
from ..errors import LandbridgeError, Malformed, NotConfigured
from ..protocol import CATALOGUE_SUBSCRIPTION, PRESENCE_SILENCE_S, Presence, parse_catalogue, unpack_presence
from ..settings import private_read, private_write

__all__ = ["Catalogue", "follow"]

_log = logging.getLogger(__name__)
_MODULES_LIMIT = 10_000
_INSTANCES_LIMIT = 1_000


@dataclass
class _Entry:
    summary: str = ""
    version: str = ""
    seen: float = 0.0
    heard: dict[str, float] = field(default_factory=dict)  # instance → when it last announced itself


class Catalogue:
    """What is known of the modules of a network.

    Time is given to each method in seconds since 1970 UTC, so that nothing here looks at a clock.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def note(self, module: str, presence: Presence, now: float) -> bool:
        """Take note of an announcement; True when it tells something that ought to be kept over a restart."""
        entry = self._entries.get(module)
        if entry is None:
            if len(self._entries) >= _MODULES_LIMIT:
                raise Malformed(f"the catalogue is full with {_MODULES_LIMIT:,} modules")
            entry = self._entries[module] = _Entry()
        is_news = (entry.summary, entry.version) != (presence.summary, presence.version) or not entry.seen
        entry.summary, entry.version, entry.seen = presence.summary, presence.version, now
        if not presence.serving:
            entry.heard.pop(presence.instance, None)
        elif presence.instance in entry.heard or len(entry.heard) < _INSTANCES_LIMIT:
            entry.heard[presence.instance] = now
        return is_news

    def modules(self, now: float) -> list[dict[str, Any]]:
        """Return one dict for each module, sorted by name.

        Returns
        -------
        list of dict
            Keys ``module``, ``summary``, ``version``, ``backends`` (how many serve it now) and ``seen`` (when it last
            announced itself, ISO 8601 in UTC).
        """
        listed = []
        for name in sorted(self._entries):
            entry = self._entries[name]
            entry.heard = {
                instance: heard for instance, heard in entry.heard.items() if now - heard < PRESENCE_SILENCE_S
            }
            listed.append(
                {
                    "module": name,
                    "summary": entry.summary,
                    "version": entry.version,
                    "backends": len(entry.heard),
                    "seen": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.seen)),
                }
            )
        return listed

    def to_json(self) -> str:
        """Return what is kept over a restart."""
        kept = {
            name: {"summary": entry.summary, "version": entry.version, "seen": entry.seen}
            for name, entry in self._entries.items()
        }
        return json.dumps(kept, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Catalogue:
        """Return the catalogue that `to_json` wrote; what cannot be understood is left out."""
        catalogue = cls()
        try:
            kept = json.loads(text)
            for name, fields in list(kept.items())[:_MODULES_LIMIT]:
                parse_catalogue(f"lb.cat.{name.replace('/', '.')}")
                entry = _Entry(str(fields["summary"]), str(fields["version"]), float(fields["seen"]))
                catalogue._entries[name] = entry
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("the catalogue that was kept could not be read whole: %s", type(error).__name__)
        return catalogue


def load(file: Path) -> Catalogue:
    """Return the catalogue kept in `file`; an empty one when there is none."""
    try:
        return Catalogue.from_json(private_read(file).decode())
    except (NotConfigured, UnicodeDecodeError):
        return Catalogue()


async def follow(catalogue: Catalogue, connection: Connection, file: Path) -> None:
    """Keep `catalogue` current with what modules announce over `connection`, and keep it in `file`."""

    def announced(delivered: Delivered) -> None:
        try:
            institute, module = parse_catalogue(delivered.subject)
            if catalogue.note(f"{institute}/{module}", unpack_presence(delivered.payload), time.time()):
                private_write(file, catalogue.to_json())
        except (LandbridgeError, OSError) as error:
            _log.warning("ignored a catalogue entry: %s", error)

    await connection.subscribe(CATALOGUE_SUBSCRIPTION, announced)
