"""The shapes of received arrays."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np

from ..errors import Malformed

__all__ = ["Order", "object_array", "order_of", "read_shape"]

Order: TypeAlias = Literal["C", "F"]


_DIMENSIONS = 64


def order_of(array: np.ndarray[Any, Any]) -> Order:
    """Return the memory order in which the items of `array` travel: its own, or C if it has gaps."""
    return "F" if array.flags.fnc else "C"


def read_shape(shape: list[Any], order: str) -> int:
    """Return the number of items of a received shape, after checking shape and order."""
    if len(shape) > _DIMENSIONS or any(type(n) is not int or n < 0 for n in shape) or order not in ("C", "F"):
        raise Malformed("the shape or order of an array is wrong")
    return math.prod(shape)  # Python integers: no product can wrap round


def object_array(elements: list[Any], shape: list[Any], order: Any) -> np.ndarray[Any, Any]:
    """Return received elements, given in memory order, as an array of objects."""
    if read_shape(shape, order) != len(elements):
        raise Malformed(f"an array of shape {shape!r:.60} has {len(elements)} elements")
    # fromiter, because assigning an array to one element of an object array unpacks it.
    flat = np.fromiter(elements, dtype=object, count=len(elements))
    return flat.reshape(tuple(shape), order=order)
