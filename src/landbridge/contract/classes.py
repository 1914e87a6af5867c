"""What a class exposes: its constructor, and the public functions that it and its bases of the same file define."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import InvalidName, NothingToServe
from ..names import check_member

__all__ = ["ClassMembers", "ClassMethod", "class_members", "constructor", "refuse_type"]


class ClassMethod(NamedTuple):
    """One method of a class.

    Attributes
    ----------
    function : callable
        What runs. It takes the object first, unless the method is static.
    static : bool
        Whether it needs no object: a static method, or a class method (bound to the class).
    """

    function: Callable[..., Any]
    static: bool


class ClassMembers(NamedTuple):
    """The methods of a class by name, and a sentence for each public name that is no method for callers."""

    methods: dict[str, ClassMethod]
    notices: tuple[str, ...]


def class_members(cls: type, name: str = "") -> ClassMembers:
    """Return what a class exposes, and what not.

    Parameters
    ----------
    cls : type
        The class.
    name : str
        Under which name the module exposes it, for the notices; by default its own.

    Examples
    --------
    >>> class Grid:
    ...     def __init__(self, step: float) -> None: ...
    ...     def mean(self, first: int) -> float: ...
    ...     @property
    ...     def shape(self) -> tuple[int, int]: ...
    >>> found = class_members(Grid)
    >>> list(found.methods), found.notices
    (['mean'], ('Grid.shape is not exposed: it is a property. Expose a method that returns it',))
    """
    name = name or cls.__name__
    methods: dict[str, ClassMethod] = {}
    notices: list[str] = []
    seen: set[str] = set()
    for base in cls.__mro__:
        new = [member for member in vars(base) if not member.startswith("_") and member not in seen]
        seen.update(new)
        if base.__module__ != cls.__module__:
            if new and base is not object:
                where = f"{base.__module__}.{base.__qualname__}"
                notices.append(
                    f"{name} does not expose what it inherits from {where}. To expose a method of it, define one in "
                    f"{name} that calls it"
                )
            continue
        for member in new:
            value = vars(base)[member]
            reason = _why_not(member, value, base)
            if reason is not None:
                notices.append(f"{name}.{member} is not exposed: {reason}")
            elif isinstance(value, (staticmethod, classmethod)):
                methods[member] = ClassMethod(getattr(cls, member), static=True)
            else:
                methods[member] = ClassMethod(value, static=False)
    return ClassMembers(methods, tuple(notices))


def _why_not(member: str, value: Any, base: type) -> str | None:
    inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    if isinstance(inner, types.FunctionType) and inner.__module__ == base.__module__:
        try:
            check_member(member)
        except InvalidName as error:
            return error.reason
        return None
    if isinstance(inner, (property, functools.cached_property)):
        return "it is a property. Expose a method that returns it"
    if isinstance(inner, type):
        return "it is a class. Expose it in the module itself"
    if isinstance(inner, types.FunctionType):
        return f"it comes from {inner.__module__}. Define a method that calls it"
    if callable(inner) or (hasattr(type(inner), "__get__") and not isinstance(inner, types.MemberDescriptorType)):
        return f"it is a {type(inner).__name__}, no function of this file. Define a method that calls it"
    return "it is a value. Expose a method that returns it"


def constructor(cls: type) -> Callable[..., Any]:
    """Return what says how an object of `cls` is made, without the parameter that Python gives itself."""
    for name in ("__init__", "__new__"):
        written = getattr(cls, name)
        if isinstance(written, types.FunctionType):
            return types.MethodType(written, cls)
    return cls


def refuse_type(target: str, cls: type) -> None:
    """Raise `NothingToServe` for what is no class of objects that stay at the backend: types of values, and others."""
    if issubclass(cls, enum.Enum):
        kind = "an enumeration"
    elif dataclasses.is_dataclass(cls):
        kind = "a dataclass"
    elif hasattr(cls, "__pydantic_fields__"):
        kind = "a model"
    elif typing.is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        kind = "a typed dict or named tuple"
    elif inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))  # type: ignore[attr-defined]
        raise NothingToServe(
            f"{target} is abstract: nobody can make one without {missing}. Expose a class that has them."
        )
    else:
        return
    raise NothingToServe(
        f"{target} is {kind}: its objects travel as values, and it comes along with the signatures that mention it. "
        "Expose functions that take or return it."
    )
