"""Tags for the dates of climate models (cftime): other calendars, any year."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..errors import Malformed, MissingExtra
from .frame import Sink, Source
from .shapes import object_array
from .tags import ENCODERS, LATE, Refused, decodes, fields

__all__ = ["pack_array"]

_CALENDARS = {
    "noleap": "DatetimeNoLeap",
    "all_leap": "DatetimeAllLeap",
    "360_day": "Datetime360Day",
    "julian": "DatetimeJulian",
    "standard": "DatetimeGregorian",
    "proleptic_gregorian": "DatetimeProlepticGregorian",
}
_FIELDS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


def _known_types() -> dict[type, bool]:
    """Return the types of cftime dates, and whether each is one of the subclasses named after a calendar."""
    cftime = sys.modules["cftime"]
    return {cftime.datetime: False, **{getattr(cftime, name): True for name in _CALENDARS.values()}}


def _register() -> None:
    ENCODERS.update(dict.fromkeys(_known_types(), _date))


LATE["cftime"] = _register


def _kind_of(value: Any) -> list[Any]:
    if value.calendar not in _CALENDARS:
        raise Refused(value, f"its calendar {value.calendar!r} is none of {', '.join(_CALENDARS)}")
    return [value.calendar, bool(value.has_year_zero), _known_types()[type(value)]]


def _numbers(value: Any) -> list[int]:
    return [getattr(value, name) for name in _FIELDS]


def _date(value: Any, sink: Sink) -> tuple[str, object]:
    return "cftime", [*_kind_of(value), _numbers(value)]


def _maker(calendar: str, has_year_zero: bool, named: bool) -> Any:
    try:
        import cftime
    except ImportError:
        raise MissingExtra("A date of another calendar (cftime)", "xarray") from None
    if calendar not in _CALENDARS:
        raise Malformed(f"{calendar[:40]!r} is no calendar")

    def make(numbers: list[int]) -> object:
        if named:
            return getattr(cftime, _CALENDARS[calendar])(*numbers, has_year_zero=has_year_zero)
        return cftime.datetime(*numbers, calendar=calendar, has_year_zero=has_year_zero)

    return make


@decodes("cftime")
def _read_date(payload: object, source: Source) -> object:
    calendar, has_year_zero, named, numbers = fields(payload, str, bool, bool, list)
    fields(numbers, *[int] * len(_FIELDS))
    if not all(-(2**31) < number < 2**31 for number in numbers):
        raise Malformed("a date has numbers out of range")
    return _maker(calendar, has_year_zero, named)(numbers)


def pack_array(elements: list[Any], kind: type) -> list[object] | None:
    """Return the payload of many dates of one type and calendar, or None if these are others."""
    if kind.__module__.partition(".")[0] != "cftime" or kind not in _known_types():
        return None
    first = _kind_of(elements[0])
    if any(_kind_of(element) != first for element in elements):
        return None
    return [*first, np.array([_numbers(element) for element in elements], dtype="<i4")]


@decodes("cftimes")
def _read_dates(payload: object, source: Source) -> object:
    shape, order, calendar, has_year_zero, named, numbers = fields(payload, list, str, str, bool, bool, np.ndarray)
    if numbers.ndim != 2 or numbers.shape[1] != len(_FIELDS) or numbers.dtype != np.dtype("<i4"):
        raise Malformed("an array of dates does not hold seven numbers for each")
    make = _maker(calendar, has_year_zero, named)
    return object_array([make(row) for row in numbers.tolist()], shape, order)
