"""The catalogue of a network: which modules there are, and which of them are served now.

Backends announce themselves under ``lb.cat.<I>.<M>``, where only they may publish. The keeper, which runs beside the
broker, remembers what it heard and answers for it as module ``lb/catalogue``, so that modules which are offline
are known, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..backend.usage import RefusalLog
from ..broker import Connection
from ..broker import Message as Delivered
from ..errors import LandbridgeError, Malformed, NotConfigured, printable
from ..protocol import CATALOGUE_SUBSCRIPTION, PRESENCE_SILENCE_S, Presence, parse_catalogue, unpack_presence
from ..settings import private_read, private_write

__all__ = ["Catalogue", "follow"]

_log = logging.getLogger(__name__)
_MODULES_LIMIT = 10_000
_MODULES_OF_INSTITUTE_LIMIT = 500  # no institute can fill the catalogue for the others
_INSTANCES_LIMIT = 1_000
_FILE_LIMIT = 4096 * _MODULES_LIMIT  # the texts of an entry are bounded: escaped in JSON, it has some 3 kB at most
_SUMMARY_LIMIT, _VERSION_LIMIT = 200, 40  # as `unpack_presence` bounds them
_LATEST_SEEN = 2**33  # year 2242: later is no time, and `gmtime` may not know it
_KEEP_S = 0.2


@dataclass
class _Entry:
    summary: str = ""
    version: str = ""
    seen: float = 0.0
    heard: dict[str, float] = field(default_factory=dict)  # instance → when it last announced itself
    purged: float = 0.0


class Catalogue:
    """What is known of the modules of a network.

    Time is given to each method in seconds since 1970 UTC, so that nothing here looks at a clock. One thread notes;
    any may read meanwhile.
    """

    # Who reads takes a copy first (`dict.copy` is one step that no other thread sees half of) and changes nothing.

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._counts: Counter[str] = Counter()  # institute → how many modules

    def note(self, module: str, presence: Presence, now: float) -> bool:
        """Take note of an announcement; True when it tells something that ought to be kept over a restart.

        Raises
        ------
        Malformed
            When the module is new and there is no place for it.
        """
        entry = self._entries.get(module)
        if entry is None:
            entry = _Entry()
            self._add(module, entry)
        if abs(now - entry.purged) >= PRESENCE_SILENCE_S:  # not each time: there may be a thousand
            entry.purged = now
            for instance in [instance for instance, heard in entry.heard.items() if not _is_fresh(heard, now)]:
                del entry.heard[instance]
        is_news = (entry.summary, entry.version) != (presence.summary, presence.version) or not entry.seen
        entry.summary, entry.version, entry.seen = presence.summary, presence.version, now
        if not presence.serving:
            entry.heard.pop(presence.instance, None)
        elif presence.instance in entry.heard or len(entry.heard) < _INSTANCES_LIMIT:
            entry.heard[presence.instance] = now
        return is_news

    def _add(self, module: str, entry: _Entry) -> None:
        institute = module.partition("/")[0]
        if len(self._entries) >= _MODULES_LIMIT:
            raise Malformed(f"the catalogue is full with {_MODULES_LIMIT:,} modules")
        if self._counts[institute] >= _MODULES_OF_INSTITUTE_LIMIT:
            raise Malformed(f"the catalogue takes {_MODULES_OF_INSTITUTE_LIMIT} modules of {institute}, and has them")
        self._entries[module] = entry
        self._counts[institute] += 1

    def modules(self, now: float) -> list[dict[str, Any]]:
        """Return one dict for each module, sorted by name.

        Returns
        -------
        list of dict
            Keys ``module``, ``summary``, ``version``, ``backends`` (how many serve it now) and ``seen`` (when it last
            announced itself, ISO 8601 in UTC).
        """
        listed = []
        for name, entry in sorted(self._entries.copy().items()):
            listed.append(
                {
                    "module": name,
                    "summary": entry.summary,
                    "version": entry.version,
                    "backends": sum(_is_fresh(heard, now) for heard in entry.heard.copy().values()),
                    "seen": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.seen)),
                }
            )
        return listed

    def to_json(self) -> str:
        """Return what is kept over a restart."""
        kept = {
            name: {"summary": entry.summary, "version": entry.version, "seen": entry.seen}
            for name, entry in self._entries.copy().items()
        }
        return json.dumps(kept, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Catalogue:
        """Return the catalogue that `to_json` wrote; what cannot be understood is left out."""
        catalogue = cls()
        skipped = 0
        try:
            kept = json.loads(text).items()
        except (ValueError, AttributeError, RecursionError) as error:
            _log.warning("the catalogue that was kept could not be read: %s", type(error).__name__)
            return catalogue
        for name, fields in kept:
            try:
                catalogue._add(_checked_name(name), _entry(fields))
            except Malformed:  # or no place, but perhaps for those of another institute
                skipped += 1
        if skipped:
            _log.warning("%d entries of the catalogue that was kept were left out", skipped)
        return catalogue


def _checked_name(name: str) -> str:
    institute, _, module = name.partition("/")
    parse_catalogue(f"lb.cat.{institute}.{module}")
    return name


def _entry(fields: object) -> _Entry:
    """Return what a kept entry says, as bounded as if its module had said it; raises `Malformed`."""
    if not isinstance(fields, dict):
        raise Malformed("a kept entry is not a JSON object")
    summary, version, seen = fields.get("summary"), fields.get("version"), fields.get("seen")
    if not isinstance(summary, str) or not isinstance(version, str):
        raise Malformed("a kept entry has no texts")
    # One comparison that neither NaN, infinity nor an integer too long for a float passes.
    if not isinstance(seen, int | float) or not 0 <= seen < _LATEST_SEEN:
        raise Malformed("a kept entry has no time")
    return _Entry(printable(summary, _SUMMARY_LIMIT), printable(version, _VERSION_LIMIT), float(seen))


def _is_fresh(heard: float, now: float) -> bool:
    return now - heard < PRESENCE_SILENCE_S


def load(file: Path) -> Catalogue:
    """Return the catalogue kept in `file`; an empty one when there is none."""
    try:
        return Catalogue.from_json(private_read(file, limit_bytes=_FILE_LIMIT).decode())
    except (NotConfigured, UnicodeDecodeError) as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            _log.warning("the catalogue that was kept is lost: %s", error)
        return Catalogue()


@asynccontextmanager
async def follow(catalogue: Catalogue, connection: Connection, file: Path) -> AsyncIterator[None]:
    """Keep `catalogue` current with what modules announce over `connection` while the context is open.

    What changed is written to `file` at once, but five times a second at most, and once more at the end: the loop that
    takes in the announcements never waits for a disk, however many there are.
    """
    ended, changed = asyncio.Event(), asyncio.Event()
    refusals = RefusalLog(_log)

    def announced(delivered: Delivered) -> None:
        try:
            institute, module = parse_catalogue(delivered.subject)
            if catalogue.note(f"{institute}/{module}", unpack_presence(delivered.payload), time.time()):
                changed.set()
        except LandbridgeError as error:
            who = printable(delivered.subject.removeprefix("lb.cat."), 130)
            refusals.note(who, f"ignored a catalogue entry: {error}", time.monotonic())

    async def keep() -> None:
        is_last = False
        while not is_last:
            await changed.wait()
            changed.clear()
            is_last = ended.is_set()
            try:
                await asyncio.to_thread(lambda: private_write(file, catalogue.to_json()))
            except OSError as error:
                changed.set()
                _log.warning("the catalogue could not be kept: %s", error)
            if not is_last:
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), _KEEP_S)

    await connection.subscribe(CATALOGUE_SUBSCRIPTION, announced)
    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        ended.set()
        changed.set()  # in any case, for the times at which modules were seen
        await keeper
