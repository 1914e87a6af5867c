"""Tags for dates and times of the standard library."""

from __future__ import annotations

import datetime as dt
import re
from types import NoneType
from zoneinfo import ZoneInfo

from ..errors import Malformed
from .frame import Sink, Source
from .plain import matching
from .tags import Refused, decodes, encodes, fields

__all__ = ["ZONE", "zone_in", "zone_of"]

_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(_CLOCK)
_DATETIME = re.compile(_DATE.pattern + "T" + _CLOCK)
# The key of a time zone becomes a path below the zone files.
ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*(?:/[A-Za-z0-9][A-Za-z0-9_+-]*){0,3}")


def zone_of(value: object, zone: dt.tzinfo | None) -> dt.tzinfo | None:
    """Return the time zone of `value` if it travels."""
    if zone is not None and type(zone) not in (dt.timezone, ZoneInfo):
        raise Refused(
            value,
            f"time zones of type {type(zone).__module__}.{type(zone).__name__} do not travel",
            "Use datetime.timezone or zoneinfo.ZoneInfo",
            at=".tzinfo",
        )
    return zone


def zone_in(payload: object) -> dt.tzinfo | None:
    """Return a received time zone, if it is one."""
    if payload is not None and type(payload) not in (dt.timezone, ZoneInfo):
        raise Malformed("a time zone is of another type")
    return payload  # type: ignore[return-value]


@encodes(dt.datetime)
def _datetime(value: dt.datetime, sink: Sink) -> tuple[str, object]:
    zone = zone_of(value, value.tzinfo)
    return "datetime", [value.replace(tzinfo=None).isoformat(timespec="microseconds"), value.fold, zone]


@decodes("datetime")
def _read_datetime(payload: object, source: Source) -> dt.datetime:
    text, fold, zone = fields(payload, str, int, object)
    return dt.datetime.fromisoformat(matching(text, _DATETIME)).replace(fold=fold, tzinfo=zone_in(zone))


@encodes(dt.time)
def _time(value: dt.time, sink: Sink) -> tuple[str, object]:
    zone = zone_of(value, value.tzinfo)
    return "time", [value.replace(tzinfo=None).isoformat(timespec="microseconds"), value.fold, zone]


@decodes("time")
def _read_time(payload: object, source: Source) -> dt.time:
    text, fold, zone = fields(payload, str, int, object)
    return dt.time.fromisoformat(matching(text, _TIME)).replace(fold=fold, tzinfo=zone_in(zone))


@encodes(dt.date)
def _date(value: dt.date, sink: Sink) -> tuple[str, object]:
    return "date", value.isoformat()


@decodes("date")
def _read_date(payload: object, source: Source) -> dt.date:
    return dt.date.fromisoformat(matching(payload, _DATE))


@encodes(dt.timedelta)
def _timedelta(value: dt.timedelta, sink: Sink) -> tuple[str, object]:
    return "timedelta", [value.days, value.seconds, value.microseconds]


@decodes("timedelta")
def _read_timedelta(payload: object, source: Source) -> dt.timedelta:
    days, seconds, microseconds = fields(payload, int, int, int)
    return dt.timedelta(days, seconds, microseconds)


@encodes(dt.timezone)
def _timezone(value: dt.timezone, sink: Sink) -> tuple[str, object]:
    offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
    return "timezone", [offset // dt.timedelta(microseconds=1), name[0] if name else None]


@decodes("timezone")
def _read_timezone(payload: object, source: Source) -> dt.timezone:
    offset, name = fields(payload, int, (str, NoneType))
    delta = dt.timedelta(microseconds=offset)
    return dt.timezone(delta) if name is None else dt.timezone(delta, name)


@encodes(ZoneInfo)
def _zone(value: ZoneInfo, sink: Sink) -> tuple[str, object]:
    if value.key is None or len(value.key) > 64 or not ZONE.fullmatch(value.key):
        raise Refused(value, "it is a time zone without a key of the IANA database")
    return "zone", value.key


@decodes("zone")
def _read_zone(payload: object, source: Source) -> ZoneInfo:
    key = matching(payload, ZONE)
    try:
        return ZoneInfo(key)
    except (KeyError, ValueError, OSError):
        raise Malformed(f"no time zone {key!r} is known here") from None
