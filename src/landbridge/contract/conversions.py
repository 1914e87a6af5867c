"""Classes that JSON has no type for, and the plain values from which a caller may have to make them."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import pathlib
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from pydantic_core import CoreSchema, SchemaValidator, core_schema

from .schema import JsonSchema
from .verdict import refuse

__all__ = ["read_converted"]

_PATH = "a path or its text"


def _parse_duration(text: str) -> dt.timedelta:
    return cast("dt.timedelta", SchemaValidator(core_schema.timedelta_schema()).validate_python(text))


def _parse_decimal(value: str | int) -> decimal.Decimal:
    if isinstance(value, str) and len(value) > 4300:  # as Python limits int(text): the cost grows with the square
        raise ValueError("too many digits")
    return decimal.Decimal(value)


class _Converted(NamedTuple):
    """A class whose values also come from others; ``exactly`` refuses subclasses (a datetime is no date here)."""

    sources: tuple[type, ...]
    convert: Callable[[Any], Any]
    json: JsonSchema
    said: str
    exactly: bool = False


def _text(format_name: str) -> JsonSchema:
    return {"type": "string", "format": format_name}


_CLASSES: dict[type, _Converted] = {
    dt.datetime: _Converted((str,), dt.datetime.fromisoformat, _text("date-time"), "a datetime or its ISO text"),
    dt.date: _Converted((str,), dt.date.fromisoformat, _text("date"), "a date or its ISO text", exactly=True),
    dt.time: _Converted((str,), dt.time.fromisoformat, _text("time"), "a time or its ISO text"),
    dt.timedelta: _Converted((str,), _parse_duration, _text("duration"), "a timedelta or its ISO text"),
    decimal.Decimal: _Converted((str, int), _parse_decimal, {"type": "string"}, "a Decimal, an int or digits as text"),
    uuid.UUID: _Converted((str,), uuid.UUID, _text("uuid"), "a UUID or its text"),
    complex: _Converted((int, float), complex, {}, "a complex number"),
    bytes: _Converted((bytearray, memoryview), bytes, _text("binary"), "bytes"),
    bytearray: _Converted((bytes, memoryview), bytearray, _text("binary"), "a bytearray"),
    pathlib.Path: _Converted((str, pathlib.PurePath), pathlib.Path, _text("path"), _PATH),
    pathlib.PurePath: _Converted((str,), pathlib.PurePath, _text("path"), _PATH),
    pathlib.PurePosixPath: _Converted((str,), pathlib.PurePosixPath, _text("path"), _PATH),
    os.PathLike: _Converted((str,), pathlib.Path, _text("path"), _PATH),
}


def read_converted(cls: Any) -> tuple[CoreSchema, JsonSchema] | None:
    """Return how values of a class that JSON has no type for are checked and described; None for other classes."""
    how = _CLASSES.get(cls) if isinstance(cls, type) else None
    if how is None:
        return None
    text = f"must be {how.said}"

    def check(value: Any) -> Any:
        if type(value) is cls or (isinstance(value, cls) and not how.exactly):
            return value
        if not isinstance(value, how.sources) or isinstance(value, bool):
            raise refuse(text)
        try:
            return how.convert(value)
        except (ValueError, ArithmeticError, TypeError):
            raise refuse(text) from None

    core = cast("CoreSchema", core_schema.no_info_plain_validator_function(check))
    return core, {**how.json, "x-landbridge": cls.__name__}
