"""The arguments of a chain's operations, hostile until they are checked: what may be given, and how much of it."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Callable
from types import EllipsisType, NoneType
from typing import Any

import numpy as np
import xarray as xr

from ..errors import printable
from .bounded import Data
from .vocabulary import COMPONENTS, DTYPES, Argument

__all__ = ["Refused", "brought", "checked", "frequency_s", "is_scalar"]

_TEXT_CHARS = 1000
_NAME_CHARS = 200
_MOST_ELEMENTS = 10_000_000
_MOST_NAMES = 1000
_ARRAY_KINDS = "biufcmMUS"
_SHORTEST_S = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "D": 86_400.0, "W": 604_800.0,
    "MS": 28 * 86_400.0, "ME": 28 * 86_400.0, "QS": 89 * 86_400.0, "QE": 89 * 86_400.0,
    "YS": 360 * 86_400.0, "YE": 360 * 86_400.0,
}  # fmt: skip
_FREQUENCY = re.compile(rf"(?P<times>[1-9][0-9]{{0,8}})?(?P<unit>{'|'.join(_SHORTEST_S)})(-[A-Z]{{3}})?")


class Refused(Exception):
    """What is wrong with an argument; never leaves this package."""


def checked(argument: Argument, value: Any, data: Data, keyword: str) -> Any:
    """Return an argument as xarray takes it.

    Parameters
    ----------
    argument : str or tuple of str
        What it may be, as in `landbridge.datasets.vocabulary`.
    value : object
        What was given: the value of another step, or what travelled.
    data : xarray.Dataset or xarray.DataArray
        What the operation works on.
    keyword : str
        Which parameter it is for: of those that are named like dimensions, which dimension.

    Raises
    ------
    Refused
        If it may not be that; the text says why.
    """
    if isinstance(argument, tuple):
        if not isinstance(value, str) or value not in argument:
            raise Refused(f"{_shown(value)} is not one of {', '.join(argument)}")
        return value
    return _CHECKS[argument](value, data, keyword)


def brought(value: Any) -> Any:
    """Return a value that travelled with the chain, if its arrays of Python's objects hold only text, dates or gaps.

    Raises
    ------
    Refused
        If there is another object: a whole number of any length, for one, which takes any time to calculate with.
    """
    if isinstance(value, xr.DataArray):
        variables = {**value.coords.variables, value.name: value.variable}
    elif isinstance(value, xr.Dataset):
        variables = dict(value.variables)
    else:
        return value
    for name, variable in variables.items():
        if variable.dtype.kind == "O":
            for each in np.asarray(variable.values, dtype=object).flat:
                if not (each is None or isinstance(each, (str, bytes, float)) or _is_date(each)):
                    shown = "an array" if name is None else printable(repr(name), 80)
                    raise Refused(
                        f"{shown} holds a {type(each).__name__} among Python objects; send numbers as numbers"
                    )
    return value


def _is_date(value: object) -> bool:
    cftime = sys.modules.get("cftime")
    return cftime is not None and isinstance(value, cftime.datetime)


def is_scalar(value: object) -> bool:
    """Return whether a value is one number, text or time."""
    if isinstance(value, np.generic):
        return value.dtype.kind in _ARRAY_KINDS
    if isinstance(value, str):
        return len(value) <= _TEXT_CHARS
    if isinstance(value, (bool, int, float, complex, datetime.datetime, datetime.date, datetime.timedelta)):
        return not isinstance(value, int) or -(2**63) <= value < 2**64
    return _is_date(value)


def frequency_s(text: str) -> float:
    """Return how short, in seconds, what a frequency of pandas names can be; checked before to be one.

    Examples
    --------
    >>> frequency_s("2D")
    172800.0
    """
    found = _FREQUENCY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no frequency")
    return int(found["times"] or 1) * _SHORTEST_S[found["unit"]]


def _shown(value: object) -> str:
    if isinstance(value, (str, int, float, NoneType, EllipsisType)):
        return printable(repr(value), 80) if not isinstance(value, int) or abs(value) < 2**64 else "so large a number"
    return f"a {type(value).__name__}"


def _flag(value: Any, data: Data, keyword: str) -> bool | None:
    if value is not None and not isinstance(value, (bool, np.bool_)):
        raise Refused(f"{_shown(value)} is neither True nor False")
    return None if value is None else bool(value)


def _integer(lowest: int, highest: int) -> Callable[[Any, Data, str], int | None]:
    def check(value: Any, data: Data, keyword: str) -> int | None:
        if value is None:
            return None
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise Refused(f"{_shown(value)} is no whole number")
        if not lowest <= value <= highest:
            raise Refused(f"{_shown(value)} is not in {lowest}…{highest}")
        return int(value)

    return check


def _number(value: Any, data: Data, keyword: str) -> Any:
    numeric = (int, float, np.number, datetime.timedelta, np.timedelta64, NoneType)
    if not isinstance(value, numeric) or not (value is None or is_scalar(value)):
        raise Refused(f"{_shown(value)} is no number")
    return value


def _name(value: Any, data: Data, keyword: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _NAME_CHARS:
        raise Refused(f"{_shown(value)} is no name")
    return value


def _existing(value: Any, data: Data, keyword: str) -> str:
    name = _name(value, data, keyword)
    if name not in data.coords and (isinstance(data, xr.DataArray) or name not in data.variables):
        known = list(map(str, data.coords if isinstance(data, xr.DataArray) else data.variables))
        raise Refused(f"there is no {_shown(name)}; there are {printable(', '.join(known[:20]), 400)}")
    return name


def _existing_many(value: Any, data: Data, keyword: str) -> str | list[str]:
    if isinstance(value, (list, tuple)) and len(value) <= _MOST_NAMES:
        return [_existing(each, data, keyword) for each in value]
    return _existing(value, data, keyword)


def _group(value: Any, data: Data, keyword: str) -> str:
    """Check a name, or ``"time.month"``: what xarray reads as an attribute is one of a list."""
    if isinstance(value, str):
        before, dot, component = value.rpartition(".")
        if dot and component in COMPONENTS and not _is_there(value, data):
            _existing(before, data, keyword)
            return value
    return _existing(value, data, keyword)


def _is_there(name: str, data: Data) -> bool:
    return name in data.coords or (isinstance(data, xr.Dataset) and name in data.variables)


def _dims(value: Any, data: Data, keyword: str) -> Any:
    if value is None or value is ...:
        return value
    if isinstance(value, (list, tuple)) and len(value) <= _MOST_NAMES:
        return [each if each is ... else _name(each, data, keyword) for each in value]
    return _name(value, data, keyword)


def _one_dim(value: Any, data: Data, keyword: str) -> str | None:
    return None if value is None else _name(value, data, keyword)


def _operand(value: Any, data: Data, keyword: str) -> Any:
    if isinstance(value, (xr.DataArray, xr.Dataset)):
        return _plain_data(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in _ARRAY_KINDS:
        if value.ndim and not _broadcasts(value, data):
            raise Refused(f"an array of shape {value.shape} does not fit; give it dimensions: xr.DataArray(…, dims=…)")
        return value
    if value is not None and not is_scalar(value):
        raise Refused(f"{_shown(value)} is neither data nor a number, text or time")
    return value


def _broadcasts(value: np.ndarray[Any, Any], data: Data) -> bool:
    try:
        return isinstance(data, xr.DataArray) and np.broadcast_shapes(value.shape, data.shape) == data.shape
    except ValueError:
        return False


def _plain_data(value: Data) -> Data:
    dataset = value if isinstance(value, xr.Dataset) else value.coords.to_dataset()
    variables = [*dataset.variables.values(), *([value.variable] if isinstance(value, xr.DataArray) else [])]
    if not all(isinstance(dim, str) for variable in variables for dim in variable.dims):
        raise Refused("dimensions are named with texts")
    return value


def _labels(value: Any, data: Data, keyword: str) -> Any:
    _indexed(keyword, data)
    if isinstance(value, slice):
        ends = (value.start, value.stop, value.step)
        if not all(end is None or is_scalar(end) for end in ends):
            raise Refused("a slice goes from one number, text or time to another")
        return value
    return _indexer(value, data, _ARRAY_KINDS)


def _positions(value: Any, data: Data, keyword: str) -> Any:
    _indexed(keyword, data)
    if isinstance(value, slice):
        ends = (value.start, value.stop, value.step)
        if not all(end is None or (isinstance(end, (int, np.integer)) and is_scalar(end)) for end in ends):
            raise Refused("a slice of positions has whole numbers")
        return value
    if is_scalar(value) and not isinstance(value, (int, np.integer)):
        raise Refused(f"{_shown(value)} is no position")
    return _indexer(value, data, "biu")


def _indexer(value: Any, data: Data, kinds: str) -> Any:
    if isinstance(value, xr.DataArray):
        if value.dtype.kind not in kinds and value.dtype.kind not in "OT":
            raise Refused(f"an array of {value.dtype} selects nothing")
        return _plain_data(value)
    if is_scalar(value):
        return value
    return _elements(value, data, "", kinds)


def _elements(value: Any, data: Data, keyword: str, kinds: str = _ARRAY_KINDS) -> Any:
    if isinstance(value, np.ndarray) and value.ndim <= 1 and value.dtype.kind in kinds and value.size <= _MOST_ELEMENTS:
        return value
    if isinstance(value, (list, tuple)) and len(value) <= _MOST_ELEMENTS and all(map(is_scalar, value)):
        return list(value)
    raise Refused(f"{_shown(value)} is no list or array, of one dimension, of numbers, texts or times")


def _indexed(keyword: str, data: Data) -> None:
    if keyword not in data.dims and keyword not in data.coords:
        dims = printable(", ".join(map(str, data.dims)), 400)
        raise Refused(f"there is no dimension {_shown(keyword)}; there are {dims}")


def _coordinate(value: Any, data: Data, keyword: str) -> Any:
    _name(keyword, data, keyword)
    if isinstance(value, xr.DataArray):
        return _plain_data(value)
    return value if is_scalar(value) else _elements(value, data, keyword)


def _fractions(value: Any, data: Data, keyword: str) -> Any:
    found = np.asarray(_elements(value, data, keyword, "iuf") if not is_scalar(value) else value)
    if found.dtype.kind not in "iuf" or found.size > 1000:
        raise Refused("give up to 1000 numbers between 0 and 1")
    return value


def _dtype(value: Any, data: Data, keyword: str) -> str:
    if not isinstance(value, str) or value not in DTYPES:
        raise Refused(f"{_shown(value)} is not one of {', '.join(DTYPES)}")
    return value


def _component(value: Any, data: Data, keyword: str) -> str:
    if not isinstance(value, str) or value not in COMPONENTS:
        raise Refused(f"{_shown(value)} is not one of {', '.join(COMPONENTS)}")
    return value


def _frequency(value: Any, data: Data, keyword: str) -> str:
    _indexed(keyword, data)
    if not isinstance(value, str) or not _FREQUENCY.fullmatch(value):
        raise Refused(f"{_shown(value)} is no frequency such as 'MS', '3D' or 'QS-DEC'")
    return value


_SHORT_WINDOW = 1000


def _window(value: Any, data: Data, keyword: str) -> int:
    if keyword not in data.dims:
        _indexed(keyword, data)
        raise Refused(f"{_shown(keyword)} is no dimension")
    # A short one may be longer than what is left of the data: xarray then has nothing to give but gaps.
    found = _integer(1, max(_SHORT_WINDOW, int(data.sizes[keyword])))(value, data, keyword)
    if found is None:
        raise Refused("a window has a length")
    return found


def _offset(value: Any, data: Data, keyword: str) -> int:
    _indexed(keyword, data)
    found = _integer(-(10**12), 10**12)(value, data, keyword)
    return 0 if found is None else found


_CHECKS: dict[str, Callable[[Any, Data, str], Any]] = {
    "component": _component,
    "coordinate": _coordinate,
    "dims": _dims,
    "dtype": _dtype,
    "elements": _elements,
    "existing": _existing,
    "existing_many": _existing_many,
    "flag": _flag,
    "fractions": _fractions,
    "frequency": _frequency,
    "group": _group,
    "labels": _labels,
    "name": _name,
    "number": _number,
    "offset": _offset,
    "one_dim": _one_dim,
    "operand": _operand,
    "positions": _positions,
    "small": _integer(-1000, 1000),
    "window": _window,
}
