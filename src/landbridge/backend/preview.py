"""What an owner is shown of arguments, and of a value that is about to leave: bounded, whatever is in it."""

from __future__ import annotations

import json
import math
import reprlib
import sys
from collections.abc import Mapping
from itertools import islice
from typing import Any

from .. import wire
from ..errors import printable
from .summary import summary_of

__all__ = ["arguments_shown", "value_shown"]

_ARGUMENTS_BYTES = 2048
"""How long all that is shown of the arguments of a call may be, as JSON, in bytes."""

_TEXT_CHARS = 200
_PREVIEW_CHARS = 2000
_NAME_CHARS = 60
_LEVELS, _ELEMENTS = 4, 20
_ARGUMENT_LEVELS, _ARGUMENT_ELEMENTS = 2, 6
"""How much of an argument becomes text: little of it is kept, and it is made for each call before that runs."""

_LONGEST_INTEGER_BITS = 1000
_FIRST = 5
_MOST_COUNTED = 10_000_000
"""Of arrays with more elements only the first ones are shown: going through all would take too long."""


def arguments_shown(arguments: Mapping[str, object]) -> dict[str, Any]:
    r"""Return what is shown of arguments, by parameter: short plain values as they are, others as a few words.

    Examples
    --------
    >>> import numpy as np
    >>> arguments_shown({"first": 2006, "data": np.zeros((2, 3)), "name": "a\x1b[31m"})
    {'first': 2006, 'data': 'numpy.ndarray of 2 x 3 float64', 'name': 'a\ufffd[31m'}
    """
    shown: dict[str, Any] = {}
    left = _ARGUMENTS_BYTES - len(json.dumps({"…": f"{sys.maxsize:,} more"}))
    for count, (name, value) in enumerate(arguments.items()):
        key, text = printable(name, _NAME_CHARS), _argument(value)
        left -= len(json.dumps({key: text}))
        if left < 0:
            shown["…"] = f"{len(arguments) - count:,} more"
            break
        shown[key] = text
    return shown


def _argument(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if type(value) is int and value.bit_length() <= _LONGEST_INTEGER_BITS // 4:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, str):
        return printable(value[: _TEXT_CHARS + 1], _TEXT_CHARS)
    return _brief(value, _TEXT_CHARS, _argument_repr)


def value_shown(value: object, size: int) -> dict[str, Any]:
    """Return what is shown of a value that is `size` bytes long on the wire, as plain values.

    As `summary_of`, with a preview that shows something of what is in it.

    Examples
    --------
    >>> value_shown([1, 2, 3], 20)
    {'type': 'list', 'bytes': 20, 'preview': '[1, 2, 3]'}
    """
    said = summary_of(value, size)
    if "shape" in said:
        said["preview"] = f"{said['preview']}: {_of_array(value)}"
    elif isinstance(value, str):
        said["preview"] = printable(value, _PREVIEW_CHARS)
    elif "dims" not in said and not _is_table(value):
        said["preview"] = _brief(value, _PREVIEW_CHARS, _value_repr)
    return said


class _Brief(reprlib.Repr):
    """Shows little of long values, and looks at no more of them than it shows."""

    def __init__(self, levels: int, elements: int) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = levels, 200, 200, 100
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = self.maxdeque = elements

    def repr_int(self, value: int, level: int) -> str:
        """Show a number; Python refuses to write long ones, for which the time grows with the length squared."""
        if value.bit_length() > _LONGEST_INTEGER_BITS:
            return f"an integer of {value.bit_length():,} bits"
        return super().repr_int(value, level)

    def repr_bytes(self, value: bytes, level: int) -> str:
        """Show the first of some bytes."""
        return repr(value) if len(value) <= 40 else f"{bytes(value[:40])!r}… ({len(value):,} bytes)"

    repr_bytearray = repr_memoryview = repr_bytes

    def repr_set(self, value: Any, level: int) -> str:
        """Show some elements of a set, unsorted: sorting would look at all."""
        if level <= 0:
            return "{…}"
        return (
            "{"
            + ", ".join(self.repr1(each, level - 1) for each in islice(value, self.maxset))
            + self._more(value)
            + "}"
        )

    def repr_frozenset(self, value: Any, level: int) -> str:
        """Show some elements of a set that cannot be changed."""
        return f"frozenset({self.repr_set(value, level)})"

    def repr_dict(self, value: dict[Any, Any], level: int) -> str:
        """Show some entries of a dict, in their order."""
        if level <= 0:
            return "{…}"
        pairs = (
            f"{self.repr1(key, level - 1)}: {self.repr1(each, level - 1)}"
            for key, each in islice(value.items(), self.maxdict)
        )
        return "{" + ", ".join(pairs) + self._more(value) + "}"

    def _more(self, value: Any) -> str:
        left = len(value) - self.maxset
        return f", … {left:,} more" if left > 0 else ""

    def repr_ReferenceData(self, value: wire.ReferenceData, level: int) -> str:
        """Show where the value of a reference is."""
        return f"a reference to a value of {value.module}.{value.member}"

    def repr_instance(self, value: object, level: int) -> str:
        """Show anything else: arrays and tables by type and size, so that not all of them becomes text."""
        said = summary_of(value, None) if _is_large_kind(value) else {}
        if "shape" in said:
            return _array_text(said, value)
        if "dims" in said or _is_table(value):
            shape = said.get("dims") or list(getattr(value, "shape", ()))
            return f"{said['type']} of {shape}"
        if callable(value) and not isinstance(value, type):
            return "a function of the caller"
        return super().repr_instance(value, level)


_value_repr = _Brief(_LEVELS, _ELEMENTS)
_argument_repr = _Brief(_ARGUMENT_LEVELS, _ARGUMENT_ELEMENTS)


def _brief(value: object, limit: int, brief: _Brief) -> str:
    try:
        text = brief.repr(value)
    except Exception:  # a class of its owner's
        text = f"a {type(value).__name__}, which cannot be shown"
    return printable(text, limit)


def _is_large_kind(value: object) -> bool:
    return type(value).__module__.partition(".")[0] in ("numpy", "xarray", "pandas", "pyarrow", "polars", "geopandas")


def _is_table(value: object) -> bool:
    return type(value).__module__.partition(".")[0] in ("pandas", "pyarrow", "polars", "geopandas")


def _array_text(said: dict[str, Any], value: Any) -> str:
    if not said["shape"]:
        return repr(value.item())[:_TEXT_CHARS]
    return f"{said['type']} of {' x '.join(map(str, said['shape']))} {said['dtype']}"


def _of_array(value: Any) -> str:
    """Return the first elements of an array and, of numbers, the least and the largest."""
    try:
        first = ", ".join(printable(str(each), _NAME_CHARS) for each in value.reshape(-1)[:_FIRST])
        text = f"{first}{', …' if value.size > _FIRST else ''}"
        if value.dtype.kind in "iuf" and 0 < value.size <= _MOST_COUNTED:
            text += f"; from {value.min()} to {value.max()}"
        return text
    except Exception:  # a kind of array that has none
        return ""
