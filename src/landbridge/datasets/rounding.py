"""Floats with fewer bits, where a reader asks for that: what is rounded away compresses to nothing."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import printable
from ..names import nearest

__all__ = ["MOST_KEEPBITS", "ROUNDED_ATTRIBUTE", "bit_rounded", "can_round", "keepbits_by_name"]

MOST_KEEPBITS = 52
"""No float that is rounded has more bits of mantissa than this."""
ROUNDED_ATTRIBUTE = "_QuantizeBitRoundNumberOfSignificantBits"
"""Where the netCDF library writes down how many bits it has kept; data that arrive rounded say it there, too."""

_MANTISSA_BITS = {2: 10, 4: 23, 8: 52}
_AT_ONCE = 64 * 1024  # elements, so that what is needed beside them stays in the cache
# Attributes by which a variable names others that say where it is (CF 1.11, appendix A).
_NAMES_OTHERS = (
    "coordinates", "bounds", "climatology", "grid_mapping", "geometry", "node_coordinates", "node_count",
    "part_node_count", "interior_ring", "cell_measures", "formula_terms",
)  # fmt: skip
# Units of latitudes and longitudes (CF 1.11, 4.1 and 4.2), and standard names of what lies along an axis.
_DEGREES = re.compile("degrees?_?(north|east|N|E)")
_PLACES = {"latitude", "longitude", "grid_latitude", "grid_longitude", "projection_x_coordinate",
           "projection_y_coordinate", "time"}  # fmt: skip


def can_round(dtype: np.dtype[Any], keepbits: int) -> bool:
    """Return whether there is something to round away: a float with more bits of mantissa than are kept.

    Examples
    --------
    >>> can_round(np.dtype("f4"), 10), can_round(np.dtype("f4"), 23), can_round(np.dtype("i2"), 10)
    (True, False, False)
    """
    return dtype.kind == "f" and keepbits < _MANTISSA_BITS.get(dtype.itemsize, 0)


def bit_rounded(values: np.ndarray[Any, Any], keepbits: int, fills: Iterable[object] = ()) -> np.ndarray[Any, Any]:
    """Return floats of which all but some bits of the mantissa are zero, rounded to the nearest, ties to even.

    The relative error of a normal number is at most ``2**-(keepbits + 1)``. What is no finite number stays what it is,
    and so does what would become infinite, or is or would become one of `fills`.

    Parameters
    ----------
    values : numpy.ndarray
        Floats of 2, 4 or 8 bytes, in any byte order; not written to.
    keepbits : int
        How many bits of the mantissa are kept, at least 1.
    fills : iterable
        Values that stand for missing ones; those that are no numbers of this dtype are passed over.

    Returns
    -------
    numpy.ndarray
        A new array of the same shape and dtype; `values` itself when it has no bits to round away.

    References
    ----------
    .. [1] Klöwer et al. (2021): Compressing atmospheric data into its real information content. Nature Computational
       Science 1, 713-724. https://doi.org/10.1038/s43588-021-00156-2

    Examples
    --------
    >>> bit_rounded(np.array([1.2345, -999.9, np.nan]), 4, fills=[-999.9])
    array([   1.25, -999.9 ,     nan])
    """
    if not can_round(values.dtype, keepbits):
        return values
    exact = values.astype(values.dtype.newbyteorder("="), copy=False).reshape(-1)
    rounded = np.empty_like(exact)
    dropped = _MANTISSA_BITS[exact.itemsize] - keepbits
    numbers = _numbers(fills, exact.dtype)
    for start in range(0, exact.size, _AT_ONCE):
        piece = slice(start, start + _AT_ONCE)
        _round_into(rounded[piece], exact[piece], dropped, numbers)
    return rounded.astype(values.dtype, copy=False).reshape(values.shape)


def _round_into(
    rounded: np.ndarray[Any, Any], exact: np.ndarray[Any, Any], dropped: int, fills: Iterable[object]
) -> None:
    bits = rounded.view(f"u{exact.itemsize}")
    bits[:] = exact.view(bits.dtype)
    bits += (bits >> dropped) & 1
    bits += (1 << (dropped - 1)) - 1
    bits >>= dropped
    bits <<= dropped
    as_it_is = ~(np.isfinite(exact) & np.isfinite(rounded))
    for fill in fills:
        as_it_is |= (exact == fill) | (rounded == fill)
    np.copyto(rounded, exact, where=as_it_is)


def _numbers(fills: Iterable[object], dtype: np.dtype[Any]) -> list[Any]:
    numbers: list[Any] = []
    for each in fills:
        with contextlib.suppress(TypeError, ValueError), np.errstate(all="ignore"):
            numbers.extend(np.asarray(each).astype(dtype).reshape(-1))
    return numbers


def keepbits_by_name(
    asked: object, variables: Mapping[Hashable, Any], coords: Iterable[Hashable], attrs: Mapping[Any, Any]
) -> dict[Hashable, int]:
    """Return which variables are rounded, and how many bits of each are kept.

    Parameters
    ----------
    asked : int or dict
        For all variables; or for some, by name.
    variables : dict of xarray.Variable
        All of the data set, as its owner has them.
    coords : iterable
        The names of those that are coordinates.
    attrs : dict
        The attributes of the data set.

    Returns
    -------
    dict
        Of a number for all: no coordinates, nor what belongs to coordinates (bounds, grid mappings, cell measures), no
        latitudes, longitudes and times, and nothing that has no bits to round away, as packed integers.

    Raises
    ------
    ValueError
        When `asked` is neither, or names what is not there, or what stays exact.
    """
    exact = _located(variables, coords, attrs)
    if not isinstance(asked, Mapping):
        bits = _keepbits(asked, "keepbits")
        return {name: bits for name, each in variables.items() if name not in exact and can_round(each.dtype, bits)}
    found: dict[Hashable, int] = {}
    problems: list[str] = []
    for name, each in asked.items():
        shown = printable(repr(name), 60)
        bits = _keepbits(each, f"keepbits[{shown}]")
        if name not in variables:
            meant = nearest(str(name), [known for known in variables if isinstance(known, str)])
            problems.append(f"there is no variable {shown}" + ("" if meant is None else f"; was {meant!r} meant?"))
        elif name in exact:
            problems.append(f"{shown} is a coordinate, or belongs to one, and arrives exactly")
        elif variables[name].dtype.kind != "f":
            problems.append(f"{shown} holds {variables[name].dtype}, and only floats can be rounded")
        elif can_round(variables[name].dtype, bits):
            found[name] = bits
    if problems:
        raise ValueError("keepbits cannot be followed: " + "; ".join(problems))
    return found


def _keepbits(asked: Any, what: str) -> int:
    with contextlib.suppress(TypeError):
        if not isinstance(asked, (bool, np.bool_)) and 1 <= operator.index(asked) <= MOST_KEEPBITS:
            return operator.index(asked)
    raise ValueError(
        f"{what} is {printable(repr(asked), 60)}; it must be a whole number from 1 to {MOST_KEEPBITS}: how many bits "
        "of the mantissa are kept (10 keep three decimal digits)"
    )


def _located(variables: Mapping[Hashable, Any], coords: Iterable[Hashable], attrs: Mapping[Any, Any]) -> set[Hashable]:
    """Return the names of the variables that say where and when the others are."""
    found = set(coords)
    texts = [attrs.get("coordinates")]
    for name, variable in variables.items():
        texts += [said.get(each) for said in (variable.attrs, variable.encoding) for each in _NAMES_OTHERS]
        units, standard = variable.attrs.get("units"), variable.attrs.get("standard_name")
        if (
            variable.dims == (name,)
            or "axis" in variable.attrs
            or (isinstance(units, str) and (" since " in units or _DEGREES.fullmatch(units)))
            or (isinstance(standard, str) and standard in _PLACES)
        ):
            found.add(name)
    for text in texts:
        if isinstance(text, str):
            found.update(text.replace(":", " ").split())
    return found
