"""What a module exposes: only what its ``__all__`` or ``lb.method`` names. Everything else stays at home."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any, TypeAlias, TypeVar, overload

from ..errors import InvalidName, NothingToServe
from ..names import check_member
from ..security import APPROVE, check_pattern
from .loading import source_of

__all__ = ["Exposed", "Exposure", "Verbs", "exposure", "marked", "method"]

Verbs: TypeAlias = Mapping[str, Callable[..., Any]]
"""What can be asked of a data set, each with the function that answers it."""

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
    process : bool
        Whether it runs in a process of its own kind, a worker, which can be ended under it.
    memory_limit : int or None
        How much memory a call may take in its worker, in bytes.
    concurrency : int or None
        How many calls of it run at a time.
    queue : int or None
        How many more may wait.
    idempotent : bool
        Whether it may be run again when its backend has died.
    onward : tuple of str
        Patterns of whom its results may go on to, as references.
    approve : bool
        Whether its owner has to accept what comes of each call of others before they get it.
    dataset : callable or None
        Makes what answers for a data set, for its address ``institute/module.name``; None for what is called itself.
    """

    function: Callable[..., Any]
    share: tuple[str, ...] = ()
    pure: bool = False
    timeout_s: float | None = None
    process: bool = False
    memory_limit: int | None = None
    concurrency: int | None = None
    queue: int | None = None
    idempotent: bool = False
    onward: tuple[str, ...] = ()
    approve: bool = False
    dataset: Callable[[str], Verbs] | None = None


@dataclass(frozen=True)
class Exposure:
    """What a module exposes.

    Attributes
    ----------
    doc, version : str
        Of the module.
    methods : dict of str to Exposed
        By name.
    notices : tuple of str
        A sentence for each name that is not exposed after all, and for each rule that cannot be kept here.
    source : str or None
        What another process can give `loading.load` to have the same module; None if there is no such thing.
    """

    doc: str
    version: str
    methods: dict[str, Exposed]
    notices: tuple[str, ...]
    source: str | None = None


@dataclass(frozen=True)
class _Mark:
    # `functools.wraps` copies the mark along with all other attributes: only this very function was named.
    function: Callable[..., Any]
    module: str
    rules: Exposed


@overload
def method(target: F, /) -> F: ...
@overload
def method(
    target: Callable[..., Any],
    /,
    *,
    share: Sequence[str] = ...,
    pure: bool = ...,
    timeout_s: float | None = ...,
    process: bool = ...,
    memory_limit: int | str | None = ...,
    concurrency: int | None = ...,
    queue: int | None = ...,
    idempotent: bool = ...,
    onward: Sequence[str] = ...,
    approve: str | None = ...,
) -> Callable[..., Any]: ...
@overload
def method(
    *,
    share: Sequence[str] = ...,
    pure: bool = ...,
    timeout_s: float | None = ...,
    process: bool = ...,
    memory_limit: int | str | None = ...,
    concurrency: int | None = ...,
    queue: int | None = ...,
    idempotent: bool = ...,
    onward: Sequence[str] = ...,
    approve: str | None = ...,
) -> Callable[[F], F]: ...
def method(
    target: Callable[..., Any] | None = None,
    /,
    *,
    share: Sequence[str] = (),
    pure: bool = False,
    timeout_s: float | None = None,
    process: bool = False,
    memory_limit: int | str | None = None,
    concurrency: int | None = None,
    queue: int | None = None,
    idempotent: bool = False,
    onward: Sequence[str] = (),
    approve: str | None = None,
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
    process : bool
        Run it in a worker, a process that can be ended under it. So cancelling stops whatever it does, and a crash
        costs nothing but this call. For long computations; a call takes some 0.2 ms longer.
    memory_limit : int or str, optional
        How much memory a call may take beyond what the worker has after loading the module: bytes, or text such as
        ``"4 GB"`` or ``"512 MiB"``. Arguments and results on their way do not count. Only with `process`.
    concurrency : int, optional
        How many calls of it run at a time.
    queue : int, optional
        How many more may wait; beyond, callers are told that the backend is busy.
    idempotent : bool
        Whether running it twice does no harm, so that a call may be run again when its backend has died. What is
        `pure` is idempotent.
    onward : sequence of str
        Whose methods may be given references to its results, beyond the institutes it is shared with: patterns as in
        `share`.
    approve : str, optional
        ``"per-call"``: what comes of each call of others than your own institute is held back until you have seen and
        accepted it, with ``landbridge approve``. For what returns one value.

    Returns
    -------
    callable
        The function itself, or a wrapper around what is defined elsewhere.

    Raises
    ------
    InvalidName
        When an entry of `share` or `onward` is not a pattern.
    ValueError
        When another parameter has no value that it can have.

    Examples
    --------
    >>> @method(share=["awi/*"], pure=True)
    ... def double(x: float) -> float:
    ...     return 2 * x
    >>> double(2.0)
    4.0
    """
    share, onward = ((each,) if isinstance(each, str) else each for each in (share, onward))
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s must be more than 0 s, not {timeout_s!r}")
    if memory_limit is not None and not process:
        raise ValueError(f"memory_limit={memory_limit!r} needs process=True: what runs in a thread cannot be limited")
    if approve not in (None, APPROVE):
        raise ValueError(f'approve must be "{APPROVE}", not {approve!r:.80}')
    home = sys._getframe(1).f_globals.get("__name__", "")
    rules = Exposed(
        _unbound,
        share=tuple(check_pattern(pattern) for pattern in share),
        pure=pure,
        timeout_s=timeout_s,
        process=process,
        memory_limit=None if memory_limit is None else _bytes("memory_limit", memory_limit),
        concurrency=_count("concurrency", concurrency, 1),
        queue=_count("queue", queue, 0),
        idempotent=idempotent or pure,
        onward=tuple(check_pattern(pattern) for pattern in onward),
        approve=approve is not None,
    )

    def expose(function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(f"lb.method exposes what can be called, not {type(function).__name__}")
        if isinstance(function, type) and function.__module__ == home and not _is_type(function):
            if process:
                raise ValueError(
                    f"{function.__name__} is a class: its objects live in the backend, not with process=True"
                )
        elif not isinstance(function, FunctionType) or function.__module__ != home:
            # Somebody else's object is left as it is; the mark goes onto a wrapper of our own.
            function = _wrapper(function)
        return marked(function, home, rules)

    return expose if target is None else expose(target)


def marked(function: F, home: str, rules: Exposed) -> F:
    """Have `function`, of the module with the name `home`, exposed by these rules when that module is served."""
    setattr(function, _MARK, _Mark(function, home, replace(rules, function=function)))
    return function


def _unbound() -> None:
    """Stand in for the function until a decorator is given it."""


def _count(name: str, value: int | None, least: int) -> int | None:
    if value is not None and (type(value) is not int or value < least):
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


_UNITS = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_LEAST_MEMORY = 2**20


def _bytes(name: str, value: int | str) -> int:
    """Return a number of bytes that was given as such or as text.

    Examples
    --------
    >>> _bytes("memory_limit", "512 MiB")
    536870912
    """
    size = value
    if isinstance(value, str):
        found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([A-Za-z]{0,3})", value.strip(), re.ASCII)
        unit = _UNITS.get(found[2].upper()) if found else None
        if found is None or unit is None:
            raise ValueError(f'{name} must be bytes or text such as "4 GB" or "512 MiB", not {value!r}')
        size = int(float(found[1]) * unit)
    if type(size) is not int or size < _LEAST_MEMORY:
        raise ValueError(f"{name} must be at least 1 MiB, not {value!r}")
    return size


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
            methods[name] = replace(mark.rules, function=value)
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
    source = source_of(module)
    in_workers = [name for name, exposed in methods.items() if exposed.process]
    if in_workers and os.name != "posix":
        raise NothingToServe(
            f"{in_workers[0]} has process=True, which {sys.platform} cannot do: descriptors cannot be passed between "
            "processes there. Leave out process=True, or serve from Linux or macOS."
        )
    if in_workers and source is None:
        raise NothingToServe(
            f"{in_workers[0]} has process=True, but other processes cannot load {module.__name__!r}: it came from no "
            "file. Write it into a file or a package, or leave out process=True."
        )
    if sys.platform != "linux":
        notices += [
            f"the memory limit of {name} is not enforced: {sys.platform} has none that would hold"
            for name in in_workers
            if methods[name].memory_limit is not None
        ]
    return Exposure(doc, version if isinstance(version, str) else "", methods, tuple(notices), source)


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
    if isinstance(value, type) and _at_home(value.__module__, module):
        return None
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
