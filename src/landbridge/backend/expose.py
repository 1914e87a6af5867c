"""What a module exposes: only what its ``__all__`` or ``lb.method`` names. Everything else stays at home."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any, TypeVar, overload

from ..errors import InvalidName, NothingToServe
from ..names import check_member
from ..security import check_pattern

__all__ = ["Exposed", "Exposure", "exposure", "method"]

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__landbridge_method__"


@dataclass(frozen=True)
class Exposed:
    """One method as its owner exposes it.

    Attributes
    ----------
    function : callable
        What is run.
    share : tuple of str
        Patterns it is shared with beyond the owner's institute.
    pure : bool
        Whether the same arguments always give the same result and nothing else happens.
    timeout_s : float or None
        The owner's time limit for one call.
    """

    function: Callable[..., Any]
    share: tuple[str, ...] = ()
    pure: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True)
class Exposure:
    """What a module exposes: its methods by name, and a sentence for each name that is not exposed after all."""

    doc: str
    version: str
    methods: dict[str, Exposed]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _Mark:
    # `functools.wraps` copies the mark along with all other attributes: only this very function was named.
    function: Callable[..., Any]
    module: str
    share: tuple[str, ...]
    pure: bool
    timeout_s: float | None


@overload
def method(target: F, /) -> F: ...
@overload
def method(
    target: Callable[..., Any], /, *, share: Sequence[str] = ..., pure: bool = ..., timeout_s: float | None = ...
) -> Callable[..., Any]: ...
@overload
def method(*, share: Sequence[str] = ..., pure: bool = ..., timeout_s: float | None = ...) -> Callable[[F], F]: ...
def method(
    target: Callable[..., Any] | None = None,
    /,
    *,
    share: Sequence[str] = (),
    pure: bool = False,
    timeout_s: float | None = None,
) -> Any:
    """Expose a function when its module is served; at home it stays what it is.

    As a decorator, ``@lb.method`` or ``@lb.method(share=[...])``, for functions of this file. For anything else that
    can be called, under the name it is bound to: ``mean = lb.method(numpy.mean)``.

    Parameters
    ----------
    target : callable, optional
        What to expose.
    share : sequence of str
        Who may call it beyond the owner's institute: ``awi/anna``, ``awi/*`` or ``*/*``.
    pure : bool
        Whether the same arguments always give the same result and nothing else happens.
    timeout_s : float, optional
        Time limit for one call, in seconds.

    Returns
    -------
    callable
        The function itself, or a wrapper around what is defined elsewhere.

    Raises
    ------
    InvalidName
        When an entry of `share` is not a pattern.

    Examples
    --------
    >>> @method(share=["awi/*"], pure=True)
    ... def double(x: float) -> float:
    ...     return 2 * x
    >>> double(2.0)
    4.0
    """
    if isinstance(share, str):
        share = (share,)
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s must be more than 0 s, not {timeout_s!r}")
    home = sys._getframe(1).f_globals.get("__name__", "")
    patterns = tuple(check_pattern(pattern) for pattern in share)

    def expose(function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(f"lb.method exposes what can be called, not {type(function).__name__}")
        if not isinstance(function, FunctionType) or function.__module__ != home:
            # Somebody else's object is left as it is; the mark goes onto a wrapper of our own.
            function = _wrapper(function)
        setattr(function, _MARK, _Mark(function, home, patterns, pure, timeout_s))
        return function

    return expose if target is None else expose(target)


def _wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of our own that does the same, of the same kind: kinds are told by the function's own code."""

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    async def async_generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with aclosing(function(*args, **kwargs)) as items:
            async for item in items:
                yield item

    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from function(*args, **kwargs))

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def is_kind(test: Callable[[Any], bool]) -> bool:
        return test(function) or test(type(function).__call__)

    wrapper: Callable[..., Any] = call
    if is_kind(inspect.iscoroutinefunction):
        wrapper = coroutine
    elif is_kind(inspect.isasyncgenfunction):
        wrapper = async_generator
    elif is_kind(inspect.isgeneratorfunction):
        wrapper = generator
    return functools.update_wrapper(wrapper, function)


def exposure(module: ModuleType) -> Exposure:
    """Return what a loaded module exposes.

    Raises
    ------
    NothingToServe
        When it names nothing, or names something that does not exist; the text shows the line to add.
    """
    methods: dict[str, Exposed] = {}
    notices: list[str] = []
    named = _named(module)
    marked = {name: (value, mark) for name, value in vars(module).items() if (mark := _mark_on(value)) is not None}
    lost = {name: reason for name, (value, mark) in marked.items() if (reason := _why_lost(name, value, mark, module))}
    for name in named:
        if name in marked and name not in lost:
            continue
        value = vars(module)[name]
        reason = _not_servable(name, value, module)
        if reason:
            notices.append(reason)
        elif not _is_type(value):
            methods[name] = Exposed(value)
    for name, (value, mark) in marked.items():
        if name not in lost:
            methods[name] = Exposed(value, mark.share, mark.pure, mark.timeout_s)
        elif name not in named:
            notices.append(f"{name} is not exposed: {lost[name]}")
    for name in methods:
        try:
            check_member(name)
        except InvalidName as error:
            raise NothingToServe(f"{_file(module)} names {name!r} to be served: {error}") from None
    if not methods:
        raise NothingToServe(_what_to_add(module, notices))
    version = vars(module).get("__version__", "")
    doc = inspect.getdoc(module) or ""
    return Exposure(doc, version if isinstance(version, str) else "", methods, tuple(notices))


def _mark_on(value: Any) -> _Mark | None:
    # Looked up without running code of the value: a module may hold objects that make up attributes or fetch them.
    mark = inspect.getattr_static(value, _MARK, None)
    return mark if isinstance(mark, _Mark) else None


def _why_lost(name: str, value: Any, mark: _Mark, module: ModuleType) -> str | None:
    """Return why a value that carries a mark is not exposed by it; None when it is."""
    if not _at_home(mark.module, module):
        return f"lb.method stands in {mark.module}. To expose it here on purpose: {name} = lb.method({name})"
    if name.startswith("_"):
        return "names that begin with _ stay at home"
    if value is mark.function or (name == mark.function.__name__ and _decorates(value, mark.function)):
        return None
    return (
        f"it only wraps {mark.function.__name__}, which lb.method exposes. "
        f"To expose it on purpose, put lb.method on {name} itself"
    )


def _decorates(value: Any, function: Callable[..., Any]) -> bool:
    """Whether a decorator that stands above lb.method made `value` of `function`."""
    try:
        return callable(value) and inspect.unwrap(value, stop=lambda inner: inner is function) is function
    except ValueError:  # it wraps itself
        return False


def _named(module: ModuleType) -> list[str]:
    listed = vars(module).get("__all__")
    if listed is None:
        return []
    if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
        raise NothingToServe(f"__all__ of {_file(module)} must be a list of names in quotes, not {listed!r:.80}")
    for name in listed:
        if name not in vars(module):
            raise NothingToServe(
                f"__all__ of {_file(module)} names {name!r}, which is not defined there. Define it, or remove the name."
            )
    return list(dict.fromkeys(listed))


def _not_servable(name: str, value: Any, module: ModuleType) -> str | None:
    if _is_type(value):
        return None
    if isinstance(value, type):
        return f"{name} is not exposed: it is a class. Expose functions that use it"
    if not callable(value):
        return (
            f"{name} is not exposed: it is a value, not a function. Give it as a default or return it from a function"
        )
    if not isinstance(value, FunctionType) or not _at_home(value.__module__, module):
        where = getattr(value, "__module__", None) or type(value).__module__
        return f"{name} is not exposed: it comes from {where}. To expose it on purpose: {name} = lb.method({name})"
    return None


def _is_type(value: Any) -> bool:
    """Whether it is a type of the kind that comes along with the signatures."""
    if not isinstance(value, type):
        return False
    return issubclass(value, Enum) or hasattr(value, "__dataclass_fields__") or hasattr(value, "model_fields")


def _at_home(defined_in: str, module: ModuleType) -> bool:
    """Whether a module name is the served module or, for a package, below it."""
    return defined_in == module.__name__ or (
        hasattr(module, "__path__") and defined_in.startswith(f"{module.__name__}.")
    )


def _what_to_add(module: ModuleType, notices: list[str]) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and _at_home(value.__module__, module) and not name.startswith("_")
    ]
    line = f"__all__ = [{', '.join(f'{name!r}' for name in own) or '...'}]".replace("'", '"')
    found = f" ({'; '.join(notices)})" if notices else ""
    return (
        f"{_file(module)} names nothing to serve{found}. Nothing is exposed that was not named. "
        f"Add a line with the functions that colleagues may call:\n\n    {line}\n"
    )


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__
