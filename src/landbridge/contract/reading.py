"""Live functions, read: signature, hints and docstring become specs and the methods that check calls."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from pydantic_core import CoreSchema

from ..errors import Malformed, NothingToServe, printable
from ..names import check_member
from .check import Method, arguments_core
from .defaults import json_form
from .docs import ParsedDoc, read_doc
from .hints import Compiled, HintReader
from .schema import JsonSchema
from .spec import KINDS, Kind, MethodSpec, ModuleSpec, ParameterSpec, is_parameter_name

__all__ = ["read_module"]

_ITERATORS = (
    collections.abc.Iterator, collections.abc.Generator, collections.abc.AsyncIterator, collections.abc.AsyncGenerator
)  # fmt: skip
_ITERABLES = (collections.abc.Iterable, collections.abc.AsyncIterable)
_AWAITED = (collections.abc.Coroutine, collections.abc.Awaitable)
_KIND_NAMES = {kind: name for name, kind in KINDS.items()}


def read_module(
    name: str,
    doc: str | None,
    members: Mapping[str, Callable[..., Any]],
    *,
    version: str = "",
    pure: Collection[str] = (),
) -> tuple[ModuleSpec, dict[str, Method]]:
    """Return what a module promises and its methods, ready to check calls.

    Parameters
    ----------
    name : str
        ``institute/module``.
    doc : str or None
        Docstring of the module.
    members : mapping of str to callable
        What it exposes, by name.
    version : str
        As its owner states it.
    pure : collection of str
        Names of the methods whose equal arguments always give equal results.

    Raises
    ------
    NothingToServe
        When a signature or hint can not be described; the text says which and how to mend it.
    InvalidName
        When a member has a name that no method may have.

    Examples
    --------
    >>> def mean(first: int, last: int = 2010) -> float:
    ...     "Mean over years."
    >>> spec, methods = read_module("geomar/ocean", None, {"mean": mean})
    >>> methods["mean"].check({"first": 2006})
    ((), {'first': 2006})
    """
    quick = HintReader()
    methods: dict[str, Method] = {}
    for member, function in members.items():
        check_member(member)
        methods[member] = _read(f"{name}.{member}", member, function, quick, pure=member in pure)
    parsed = read_doc(doc)
    whole = printable(inspect.cleandoc(doc), 64 * 1024) if doc else ""
    spec = ModuleSpec(
        name=name,
        doc=whole,
        summary=parsed.summary,
        version=printable(version, 100),
        methods={member: method.spec for member, method in methods.items()},
        types=quick.types,
    )
    try:
        spec = ModuleSpec.from_json(
            spec.to_json()
        )  # what a caller would refuse is refused here, where it can be mended
    except Malformed as error:
        raise NothingToServe(
            f"{name} can not be described to callers: {error.reason}. Shorten its docstrings, or serve it in parts."
        ) from error
    for member, method in methods.items():
        method.spec = spec.methods[member]
    return spec, methods


def _read(target: str, name: str, function: Callable[..., Any], reader: HintReader, *, pure: bool) -> Method:
    if isinstance(function, type):
        raise NothingToServe(
            f"{target} is a class. Expose a function that makes and uses it, or an instance's methods."
        )
    if not callable(function):
        raise NothingToServe(f"{target} is not callable, but a {type(function).__name__}. Expose a function.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise NothingToServe(
            f"{target} has no signature that Python can read ({error}). Expose a function of your own that calls it."
        ) from error
    hints = _hints(target, function, signature)
    doc = read_doc(inspect.getdoc(function if not isinstance(function, functools.partial) else function.func))
    specs, cores = [], []
    for parameter in signature.parameters.values():
        if not is_parameter_name(parameter.name):
            raise NothingToServe(f"{target}: the parameter {parameter.name!r} needs another name.")
        hint = _of_parameter(parameter, hints)
        compiled = _compiled(reader, hint, target, parameter.name)
        cores.append((parameter, compiled.core))
        specs.append(_parameter(parameter, compiled.json, doc))
    returned = hints.get("return", inspect.Parameter.empty)
    streams, hint = _streamed(_unwrapped(function), returned)
    result = None if hint is inspect.Parameter.empty else _compiled(reader, hint, target, "its result").json
    spec = MethodSpec(
        name=name,
        doc=doc.body,
        summary=doc.summary,
        parameters=tuple(specs),
        returns=None if streams else result,
        returns_doc=doc.returns,
        raises=doc.raises,
        streams=streams,
        items=result if streams else None,
        pure=pure,
    )

    def explain() -> CoreSchema:
        patient = HintReader(all_problems=True)
        every = [(p, patient.read(_of_parameter(p, hints)).core) for p in signature.parameters.values()]
        return arguments_core(every, fail_fast=False)

    return Method(
        target,
        spec,
        function,
        arguments_core(cores, fail_fast=True),
        explain=explain,
        defaults={p.name: p.default for p in signature.parameters.values() if p.default is not p.empty},
        types=reader.types,
    )


def _compiled(reader: HintReader, hint: Any, target: str, what: str) -> Compiled:
    try:
        return reader.read(hint)
    except NothingToServe as error:
        raise NothingToServe(f"{target}, {what}: {error}") from error


def _of_parameter(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    hint = hints.get(parameter.name, parameter.empty)
    if typing.get_origin(hint) is typing.Unpack:
        return Any  # **options: Unpack[Options]: the names differ in their types, the function looks at them itself
    if isinstance(hint, (typing.ParamSpecArgs, typing.ParamSpecKwargs)):
        return Any
    if parameter.default is None and hint is not parameter.empty:
        return typing.Optional[hint]  # noqa: UP045 - `year: int = None` is common, and hints need not support |
    return hint


def _unwrapped(function: Any) -> Any:
    """Return the function that was written, below partials, decorators, methods and callable objects."""
    for _ in range(100):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif not isinstance(function, types.FunctionType) and "__call__" in dir(type(function)):
            below = type(function).__call__
            if not isinstance(below, types.FunctionType):
                break
            function = below
        else:
            break
    return function


def _hints(target: str, function: Any, signature: inspect.Signature) -> dict[str, Any]:
    """Return the hints by name of parameter (and ``return``), texts resolved where the function was written."""
    raw = {p.name: p.annotation for p in signature.parameters.values() if p.annotation is not p.empty}
    if signature.return_annotation is not signature.empty:
        raw["return"] = signature.return_annotation
    where = getattr(_unwrapped(function), "__globals__", {})
    resolved: dict[str, Any] = {}
    for name, hint in raw.items():
        holder = types.SimpleNamespace(__annotations__={name: hint})
        try:
            resolved |= typing.get_type_hints(holder, globalns=where, localns={}, include_extras=True)
        except Exception as error:  # a hint is any text at all, evaluated
            what = "its result" if name == "return" else f"the parameter {name!r}"
            raise NothingToServe(
                f"{target}: the type hint {printable(repr(hint), 200)} of {what} can not be resolved ({error}). Import "
                "what it names at the top of the file, outside `if TYPE_CHECKING:`."
            ) from error
    return resolved


def _streamed(function: Any, hint: Any) -> tuple[bool, Any]:
    """Return whether a function gives items one by one, and the hint of an item or else of the result."""
    origin = typing.get_origin(hint) or hint
    arguments = typing.get_args(hint)
    if origin in _AWAITED and arguments:
        return False, arguments[-1]
    generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if origin in _ITERATORS or (generates and origin in _ITERABLES):
        return True, arguments[0] if arguments else inspect.Parameter.empty
    if generates and hint is inspect.Parameter.empty:
        return True, hint
    return False, hint


def _parameter(parameter: inspect.Parameter, schema: JsonSchema, doc: ParsedDoc) -> ParameterSpec:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    required = parameter.default is parameter.empty and not variadic
    default = text = None
    if not required and not variadic:
        form = json_form(parameter.default)
        default = None if form is None else form.value
        if form is None or not form.exact:
            text = _written(parameter.default)
    described = doc.parameters.get(parameter.name) or str(schema.get("description", ""))
    return ParameterSpec(
        name=parameter.name,
        kind=cast("Kind", _KIND_NAMES[parameter.kind]),
        schema=schema,
        required=required,
        default=default,
        default_text=text,
        doc=described,
        unit=_unit(schema),
    )


def _unit(schema: JsonSchema) -> str | None:
    """Return the unit of a parameter: its own, that of its one alternative to None, or that of its items."""
    places = [schema, *schema.get("anyOf", ()), schema.get("items", {})]
    return next((place["x-unit"] for place in places if "x-unit" in place), None)


def _written(value: object) -> str:
    """Return how a default shows in a signature: as Python writes it, if that is short."""
    name = getattr(value, "__name__", None)
    try:
        text = name if isinstance(name, str) else repr(value)
    except Exception:  # an object's own __repr__
        text = f"<{type(value).__name__}>"
    one_line = " ".join(text.split())
    return printable(one_line, 200) if " at 0x" not in one_line else f"<{type(value).__name__}>"
