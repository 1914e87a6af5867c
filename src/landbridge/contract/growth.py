"""What a few received bytes may grow into: ranges into lists, empty arrays into nested lists, lists into sets.

The wire bounds what arrives; hints then have it changed. Twenty bytes of a range are a million numbers where a list
is declared, and 40,000 numbers of one hash, harmless as a list, keep a processor busy for minutes as a set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np
from pydantic_core import CoreSchema, SchemaValidator, ValidationError

from .verdict import refuse

__all__ = ["MAX_ENTRIES", "guard_foreign", "guard_keys", "guard_set", "may_grow", "to_list"]

MAX_ENTRIES = 2**20
_MAX_ALIKE = 64
_CONTAINERS = (list, tuple, set, frozenset)

_SAME_HASH = frozenset({"any", "int", "float", "str", "bool", "none"})
"""Kinds of validators that leave a value its hash, so that what is a set or dict already needs no second look."""


may_grow: ContextVar[int] = ContextVar("may_grow", default=MAX_ENTRIES)
"""Entries that the arguments of the call being checked may still grow by."""


def _take(entries: int) -> None:
    left = may_grow.get() - entries
    may_grow.set(left)
    if left < 0:
        raise refuse(f"would make lists of more than {MAX_ENTRIES:,} entries in all; send an array")


def to_list(value: Any) -> Any:
    """Return an array, range or tuple as the list that a hint declares; anything else as it is."""
    kind = type(value)
    if kind is list:
        return value
    if kind is tuple:
        return list(value)
    if kind is range:
        # The length of a longer one may be beyond what len() can say.
        _take(MAX_ENTRIES + 1 if value[MAX_ENTRIES:] else len(value))
        return list(value)
    if isinstance(value, np.ndarray):
        # Inner lists without content, or with one item each, are in no proportion to the bytes of the array.
        _take(max(0, sum(accumulate(value.shape[:-1], mul)) - value.size))
        if value.dtype.kind in "mM":  # .tolist() would give bare integers for nanoseconds
            value = value.astype(f"{value.dtype.kind}8[us]")
        return value.tolist()
    return value


def guard_set(items: CoreSchema, *, fail_fast: bool) -> Callable[[Any], Any]:
    """Return what is asked before a set is made: whether its items were chosen to collide.

    Parameters
    ----------
    items : CoreSchema
        Validator's schema of an item.
    fail_fast : bool
        Whether the validator ends at the first wrong item.
    """
    made = None if items["type"] in _SAME_HASH else _Made(items, fail_fast)

    def guard(value: Any) -> Any:
        kind = type(value)
        if kind is range:
            value = to_list(value)
        elif kind in (set, frozenset) and made is None:
            return value
        many = kind in _CONTAINERS or kind is range or (isinstance(value, np.ndarray) and value.ndim > 0)
        if many and len(value) > _MAX_ALIKE:
            _refuse_alike(list(value) if made is None else made(value))
        return value

    return guard


def guard_keys(keys: CoreSchema, *, fail_fast: bool) -> Callable[[Any], Any] | None:
    """Return what is asked before a dict is made with changed keys; None where keys stay what they were."""
    if keys["type"] in _SAME_HASH:
        return None
    made = _Made(keys, fail_fast)

    def guard(value: Any) -> Any:
        if type(value) is dict and len(value) > _MAX_ALIKE:
            _refuse_alike(made(value))
        return value

    return guard


class _Made:
    """Makes the items that a validator will put into a set or dict, as far as it will come; texts become UUIDs.

    Only for more items than `_MAX_ALIKE`: each is then made twice.
    """

    def __init__(self, core: CoreSchema, fail_fast: bool) -> None:
        self._core, self._fail_fast = core, fail_fast
        self._validate: Callable[[Any], Any] | None = None

    def __call__(self, items: Iterable[Any]) -> list[Any]:
        if self._validate is None:  # not before, as a record may contain itself
            self._validate = SchemaValidator(self._core).validate_python
        left, found = may_grow.get(), []
        for item in items:
            try:
                found.append(self._validate(item))
            except ValidationError:
                if self._fail_fast:
                    break
        may_grow.set(left)
        return found


def guard_foreign(value: Any) -> Any:
    """Return `value` if a validator that is not ours can be given it, which may take a range for any list."""
    stack, seen = [value], 0
    while stack:
        part = stack.pop()
        kind = type(part)
        if kind is range:
            to_list(part)
        elif kind is dict:
            stack += part.values()
        elif kind in _CONTAINERS:
            stack += part
            if len(part) > _MAX_ALIKE and kind in (list, tuple):
                _refuse_alike(part)
        seen += 1
        if seen > 2 * MAX_ENTRIES:  # more than can arrive: it contains itself
            raise refuse("nests too deep")
    return value


def _refuse_alike(items: Any) -> None:
    """Refuse more than `_MAX_ALIKE` different items of one hash; equal ones cost a set nothing."""
    try:
        hashes = list(map(hash, items))
    except TypeError:  # the validator refuses those, but only when it comes to them
        items = list(filter(_is_hashable, items))
        hashes = list(map(hash, items))
    if len(set(hashes)) > len(hashes) - _MAX_ALIKE:
        return
    crowded = {number for number, count in Counter(hashes).items() if count > _MAX_ALIKE}
    different: dict[int, list[Any]] = {number: [] for number in crowded}
    for item, number in zip(items, hashes, strict=True):
        if number in crowded and item not in different[number]:
            different[number].append(item)
            if len(different[number]) > _MAX_ALIKE:
                raise refuse(f"has more than {_MAX_ALIKE} different items or keys of one hash")


def _is_hashable(item: Any) -> bool:
    try:
        hash(item)
    except TypeError:
        return False
    return True
