"""A method's value becomes text, JSON or a file.

=======  ==========================================================  =================================
suffix   for                                                         written as
=======  ==========================================================  =================================
.json    everything                                                  JSON; arrays as nested lists
.txt     everything                                                  as on stdout
.npy     arrays, numbers                                             NumPy
.csv     arrays of one or two dimensions, columns, data sets         text, columns
.nc      xarray data sets and arrays                                 netCDF-4
=======  ==========================================================  =================================

A file is whole or not there: it is written under another name beside its place, then renamed.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import enum
import math
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..contract import MethodSpec
from ..contract.schema import describe
from ..errors import MissingExtra
from .console import json_text, safe, say, show
from .ending import UsageError

__all__ = ["Jsonable", "check_output", "show_value", "write_value"]

_SHORT_BITS = 2_000  # Python's limit cannot be set lower than 640 decimals
_BECAME_HEX = "integers too long to be written in decimals became hexadecimal text"
_XARRAY = ("xarray.DataArray", "xarray.Dataset")


def check_output(file: Path, spec: MethodSpec | None = None) -> None:
    """Refuse a file that cannot be written, or not with what the method says it returns.

    Raises
    ------
    UsageError
        With the reason; asked before the call, so that no work is lost.
    """
    if file.suffix not in _WRITERS:
        raise UsageError(f"-o {file}: the ending says what is written, and may be {', '.join(_WRITERS)}.")
    if file.is_dir():
        raise UsageError(f"-o {file}: this is a folder. Name a file in it.")
    if not file.parent.is_dir():
        raise UsageError(f"-o {file}: there is no folder {file.parent}. Make it first.")
    if spec is None:
        return
    if spec.streams and file.suffix not in (".json", ".txt"):
        raise UsageError(f"-o {file}: {spec.name} gives items one by one; write them as .json or .txt.")
    returned = spec.returns or {}
    special, kind = returned.get("x-landbridge"), returned.get("type")
    is_xarray = special in _XARRAY
    known = is_xarray or special is not None or kind in ("integer", "number", "string", "boolean", "null")
    if known and file.suffix == ".nc" and not is_xarray and "." not in str(special):
        raise UsageError(f"-o {file}: {spec.name} returns {describe(returned)}, and .nc holds xarray objects only.")
    if is_xarray and file.suffix == ".npy":
        raise UsageError(f"-o {file}: .npy would lose the coordinates of {describe(returned)}. Write it as .nc.")


def show_value(value: Any, *, as_json: bool) -> None:
    """Print a value on stdout: plain text, or one line of JSON."""
    if as_json:
        show(_json(value, "what is shown"))
    elif isinstance(value, bytes | bytearray | memoryview) and not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
    elif value is not None:
        text = _text(value)
        # A pipe gets what the method said; a terminal must not be steered by it.
        show(safe(text) if sys.stdout.isatty() else text)


def write_value(value: Any, file: Path) -> int:
    """Write a value to `file` and return its size in bytes.

    Raises
    ------
    UsageError
        When the value is of no type that such a file holds, or the file cannot be written.
    """
    temporary = file.with_name(f".{file.stem[:100]}.{secrets.token_hex(4)}.part{file.suffix}")
    try:
        _WRITERS[file.suffix](value, temporary)
        size_bytes = temporary.stat().st_size
        os.replace(temporary, file)
    except OSError as error:
        raise UsageError(f"-o {file}: cannot be written: {error.strerror or error}.") from error
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UsageError(
            f"-o {file}: the value came, but is not suited for {file.suffix}: {safe(error)}. Write it as .json, or "
            "leave out -o."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return size_bytes


def _text(value: Any) -> str:
    """Return a value as people read it; of plain containers and arrays nothing is left out."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, enum.Enum):
        return str(value.name)
    if isinstance(value, int) and _is_too_long(value):
        say(f"Note: {_BECAME_HEX} in what is shown.")
        return hex(value)
    if isinstance(value, list | tuple | dict | set | frozenset) or dataclasses.is_dataclass(value):
        return _json(value, "what is shown")
    if type(value).__module__.partition(".")[0] == "numpy" and bool(getattr(value, "ndim", False)):
        # On a terminal NumPy's own way, which leaves out the middle; elsewhere everything.
        return str(value) if sys.stdout.isatty() else _json(value, "what is shown")
    return str(value)


def _is_too_long(value: int) -> bool:
    """Whether Python refuses to write an integer in decimals, which takes time that grows with its length squared."""
    if value.bit_length() < _SHORT_BITS:
        return False
    try:
        str(value)
    except ValueError:
        return True
    return False


def _json(value: Any, what: str) -> str:
    plain = Jsonable()
    text = json_text(plain.of(value))
    for note in plain.notes:
        say(f"Note: {note} in {what}.")
    return text


class Jsonable:
    """Makes values plain JSON, and keeps in `notes` what JSON could not say."""

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}

    def of(self, value: Any) -> Any:
        """Return `value` with what JSON has.

        Examples
        --------
        >>> import datetime
        >>> plain = Jsonable()
        >>> plain.of({"day": datetime.date(2006, 4, 1), "mean": float("nan")})
        {'day': '2006-04-01', 'mean': None}
        >>> list(plain.notes)
        ['numbers that JSON has not (NaN, infinity) became null']
        """
        if isinstance(value, enum.Enum):
            return value.name
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            if _is_too_long(value):
                self.notes[_BECAME_HEX] = None
                return hex(value)
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else self._null()
        if isinstance(value, complex):
            return [self.of(value.real), self.of(value.imag)]
        if isinstance(value, Mapping):
            return {self._key(key): self.of(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset | range):
            return [self.of(item) for item in value]
        if isinstance(value, bytes | bytearray | memoryview):
            return base64.b64encode(value).decode("ascii")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: self.of(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return self._foreign(value)

    def _foreign(self, value: Any) -> Any:
        home = type(value).__module__.partition(".")[0]
        if home == "numpy":
            return self._numpy(value)
        if home == "xarray":
            found = self.of(value.to_dict(encoding=False, data="array"))
            found["type"] = type(value).__name__
            return found
        if hasattr(value, "isoformat"):
            return value.isoformat()
        return str(value)

    def _numpy(self, value: Any) -> Any:
        import numpy as np

        if isinstance(value, np.ma.MaskedArray):
            self.notes["masked places became null"] = None
            return self.of(value.tolist())
        if value.dtype.kind in "mM":
            # As text, exact to the last digit; tolist() would turn nanoseconds into a bare number.
            if np.isnat(value).any():
                self.notes["times that are missing (NaT) became null"] = None
            texts = value.astype(str) if value.dtype.kind == "m" else np.datetime_as_string(value)
            return self._without_nat(np.asarray(texts).tolist())
        return self.of(value.tolist() if value.dtype.kind != "V" or value.dtype.names else value.tobytes())

    def _without_nat(self, texts: Any) -> Any:
        if isinstance(texts, list):
            return [self._without_nat(text) for text in texts]
        return None if texts == "NaT" else texts

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return str(key)
        self.notes["keys that are no text became text"] = None
        return str(self.of(key))

    def _null(self) -> None:
        self.notes["numbers that JSON has not (NaN, infinity) became null"] = None


def _write_json(value: Any, file: Path) -> None:
    file.write_text(_json(value, "the file") + "\n", encoding="utf-8")


def _write_txt(value: Any, file: Path) -> None:
    if isinstance(value, bytes | bytearray | memoryview):
        file.write_bytes(value)
    elif type(value).__module__.partition(".")[0] == "xarray":
        file.write_text(repr(value) + "\n", encoding="utf-8")
    else:
        text = value if isinstance(value, str) else _json(value, "the file")
        file.write_text(text + ("" if text.endswith("\n") else "\n"), encoding="utf-8")


def _write_npy(value: Any, file: Path) -> None:
    import numpy as np

    if not isinstance(value, np.ndarray | np.generic | list | tuple | bool | int | float | complex):
        raise TypeError(f"{type(value).__name__} is no array")
    array = np.asanyarray(value)
    if array.dtype.hasobject:
        raise TypeError("it holds Python objects")
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("the mask would be lost")
    np.save(file, array, allow_pickle=False)


def _write_nc(value: Any, file: Path) -> None:
    if type(value).__module__.partition(".")[0] != "xarray":
        raise TypeError(f"{type(value).__name__} is no xarray object")
    try:
        import netCDF4  # noqa: F401 - xarray would fall back to an older format without 64-bit integers
    except ImportError:
        raise MissingExtra(f"Writing {file.suffix}", "xarray") from None
    value.to_netcdf(file, engine="netcdf4", format="NETCDF4")


def _write_csv(value: Any, file: Path) -> None:
    if type(value).__module__.partition(".")[0] == "xarray":
        table = value.to_series() if value.__class__.__name__ == "DataArray" and value.name else value.to_dataframe()
        table.to_csv(file)
        return
    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(_csv_rows(value))


def _csv_rows(value: Any) -> Iterable[list[Any]]:
    converted = Jsonable()
    plain = converted.of(value)
    if _BECAME_HEX in converted.notes:
        say(f"Note: {_BECAME_HEX} in the file.")
    if isinstance(plain, dict):
        columns = list(plain.values())
        if not columns or not all(isinstance(column, list) for column in columns):
            raise TypeError("its columns must be lists")
        if len({len(column) for column in columns}) > 1:
            raise ValueError("its columns are of different length")
        return [list(plain), *([_cell(cell) for cell in row] for row in zip(*columns, strict=True))]
    if not isinstance(plain, list):
        raise TypeError(f"{type(value).__name__} has no rows")
    if plain and all(isinstance(row, dict) and row.keys() == plain[0].keys() for row in plain):
        return [list(plain[0]), *([_cell(cell) for cell in row.values()] for row in plain)]
    return [[_cell(cell) for cell in (row if isinstance(row, list) else [row])] for row in plain]


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise TypeError("it has more than two dimensions")
    return "" if value is None else value


_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    ".json": _write_json,
    ".txt": _write_txt,
    ".npy": _write_npy,
    ".csv": _write_csv,
    ".nc": _write_nc,
}
