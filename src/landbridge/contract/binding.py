"""Arguments as they are written in a call become values by name, with Python's own errors. Runs for every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..names import nearest
from .methodspec import BindingPlan, MethodSpec

__all__ = ["bind"]


def bind(spec: MethodSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name of parameter.

    What is not given is left out: the function's own default applies. Values of ``*args`` come as a list under its
    name, those of ``**kwargs`` under their own.

    Parameters
    ----------
    spec : MethodSpec
        The method that is called.
    args, kwargs : tuple and mapping
        As they were written.

    Raises
    ------
    TypeError
        As Python words it, when they do not fit the signature.

    Examples
    --------
    >>> from landbridge.contract import MethodSpec, ParameterSpec
    >>> spec = MethodSpec("mean", parameters=(ParameterSpec("first"), ParameterSpec("last")))
    >>> bind(spec, (2006,), {"last": 2010})
    {'first': 2006, 'last': 2010}
    >>> bind(spec, (2006,), {})
    Traceback (most recent call last):
    TypeError: mean() missing 1 required positional argument: 'last'
    """
    plan = spec.plan
    values = dict(zip(plan.positional, args, strict=False))
    if (
        len(args) <= len(plan.positional)
        and (not kwargs or (kwargs.keys() <= plan.by_name and values.keys().isdisjoint(kwargs)))
    ):  # fmt: skip
        values.update(kwargs)
        if plan.required <= values.keys():
            return values
    return _bind_all(spec, plan, args, kwargs)


def _bind_all(spec: MethodSpec, plan: BindingPlan, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Bind what is not plain, in the order of checks that CPython has."""
    name = spec.name
    values = dict(zip(plan.positional, args, strict=False))
    only_by_place = {p.name for p in spec.parameters if p.kind == "positional_only"}
    for key, value in kwargs.items():
        if key in plan.by_name:
            if key in values:
                raise TypeError(f"{name}() got multiple values for argument {key!r}")
            values[key] = value
        elif plan.takes_any_name:
            if key in only_by_place or key == plan.var_positional:
                # Legal in Python; but a call travels by names, and this one is taken.
                raise TypeError(
                    f"{name}() has a parameter {key!r} that is given by position; a remote call can not also give "
                    f"{key!r} as a further keyword"
                )
            values[key] = value
        elif refused := [name for name in plan.positional if name in only_by_place and name in kwargs]:
            shown = ", ".join(refused)
            raise TypeError(f"{name}() got some positional-only arguments passed as keyword arguments: '{shown}'")
        else:
            meant = nearest(key, plan.by_name)
            hint = f". Did you mean {meant!r}?" if meant else ""
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}{hint}")
    if len(args) > len(plan.positional):
        if plan.var_positional is None:
            raise TypeError(_too_many(spec, plan, len(args), kwargs))
        values[plan.var_positional] = list(args[len(plan.positional) :])
    _require(spec, "positional", ("positional_only", "positional_or_keyword"), values)
    _require(spec, "keyword-only", ("keyword_only",), values)
    return values


def _too_many(spec: MethodSpec, plan: BindingPlan, given: int, kwargs: Mapping[str, Any]) -> str:
    most = len(plan.positional)
    least = sum(name in plan.required for name in plan.positional)
    takes = f"from {least} to {most}" if least < most else str(most)
    plural = "s" if most != 1 or least < most else ""
    by_name = sum(p.kind == "keyword_only" and p.name in kwargs for p in spec.parameters)
    also = ""
    if by_name:
        ending = "s" if given != 1 else ""
        also = f" positional argument{ending} (and {by_name} keyword-only argument{'s' if by_name != 1 else ''})"
    were = "was" if given == 1 and not by_name else "were"
    return f"{spec.name}() takes {takes} positional argument{plural} but {given}{also} {were} given"


def _require(spec: MethodSpec, word: str, kinds: tuple[str, ...], values: Mapping[str, Any]) -> None:
    missing = [repr(p.name) for p in spec.parameters if p.required and p.kind in kinds and p.name not in values]
    if missing:
        if len(missing) > 2:
            names = ", ".join(missing[:-1]) + f", and {missing[-1]}"
        else:
            names = " and ".join(missing)
        plural = "s" if len(missing) > 1 else ""
        raise TypeError(f"{spec.name}() missing {len(missing)} required {word} argument{plural}: {names}")
