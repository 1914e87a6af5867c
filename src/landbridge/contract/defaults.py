"""Defaults of parameters and fields in JSON form, as far as they have one."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..errors import printable
from .lowering import lower_arguments

__all__ = ["JsonForm", "json_form"]

_MAX_ITEMS = 1000


class JsonForm(NamedTuple):
    """A value in JSON form; `exact` if it comes back as it was."""

    value: Any
    exact: bool


def json_form(value: object) -> JsonForm | None:
    """Return `value` in JSON form, or None if it has none or is too long to be shown.

    Examples
    --------
    >>> json_form((1, 2)), json_form({1, 2})
    (JsonForm(value=[1, 2], exact=False), None)
    """
    budget = [_MAX_ITEMS]
    try:
        form, exact = _form(lower_arguments(value), budget, 0)
    except _NoForm:
        return None
    return JsonForm(form, exact)


class _NoForm(Exception):
    pass


def _form(value: Any, budget: list[int], depth: int) -> tuple[Any, bool]:
    budget[0] -= 1
    if budget[0] < 0 or depth > 20:
        raise _NoForm
    kind = type(value)
    if value is None or kind is bool or (kind is int and value.bit_length() < 1000):
        return value, True
    if kind is float and math.isfinite(value):
        return value, True
    if kind is str and len(value) <= 1000 and printable(value, 1000) == value:
        return value, True
    if kind in (list, tuple):
        pairs = [_form(item, budget, depth + 1) for item in value]
        return [form for form, _ in pairs], kind is list and all(exact for _, exact in pairs)
    if kind is dict and all(type(key) is str and printable(key, 200) == key for key in value):
        forms = {key: _form(item, budget, depth + 1) for key, item in value.items()}
        return {key: form for key, (form, _) in forms.items()}, all(exact for _, exact in forms.values())
    if kind.__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        form, _ = _form(value.item(), budget, depth + 1)
        return form, False
    raise _NoForm
