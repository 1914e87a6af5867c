"""Live functions and classes, read: signature, hints and docstring become specs and the methods that check calls."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from pydantic_core import CoreSchema

from ..errors import Malformed, NothingToServe, printable
from ..names import check_member
from .check import Method, arguments_core
from .classes import class_members, constructor, refuse_type
from .defaults import json_form
from .docs import ParsedDoc, read_doc
from .hints import Compiled, HintReader
from .methodspec import KINDS, MAX_DOC_CHARS, Kind, MethodSpec, ParameterSpec, is_parameter_name
from .schema import JsonSchema
from .spec import ClassSpec, DatasetSpec, ModuleSpec

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
    classes: Mapping[str, type] | None = None,
    datasets: Mapping[str, tuple[str, Mapping[str, Callable[..., Any]]]] | None = None,
    version: str = "",
    pure: Collection[str] = (),
    idempotent: Collection[str] = (),
) -> tuple[ModuleSpec, dict[str, Method]]:
    """Return what a module promises and everything in it that can be called, ready to check calls.

    Parameters
    ----------
    name : str
        ``institute/module``.
    doc : str or None
        Docstring of the module.
    members : mapping of str to callable
        The functions that it exposes, by name.
    classes : mapping of str to type, optional
        The classes that it exposes, by name; `landbridge.contract.class_members` tells which of their methods.
    datasets : mapping of str to (str, mapping of str to callable), optional
        The data sets that it exposes, by name: what their owner says of each, and what answers each thing that can be
        asked of it.
    version : str
        As its owner states it.
    pure : collection of str
        Names of the methods whose equal arguments always give equal results, and that do nothing else. A method of
        a class is named ``Grid.mean``.
    idempotent : collection of str
        Names of the methods that may be run again when the outcome of a call was lost.

    Returns
    -------
    spec : ModuleSpec
        What travels to callers.
    methods : dict of str to Method
        By the names of `ModuleSpec.callables`: functions (``mean``), classes (``Grid``: its `Method.function` makes an
        object) and their methods (``Grid.mean``: its `Method.function` takes the object first, unless the spec says
        that it is static); and what can be asked of data sets (``sst.open``), static like a method of a class.

    Raises
    ------
    NothingToServe
        When a signature or hint can not be described; the text says which and how to mend it.
    InvalidName
        When a member has a name that no method or class may have.

    Examples
    --------
    >>> def mean(first: int, last: int = 2010) -> float:
    ...     "Mean over years."
    >>> spec, methods = read_module("geomar/ocean", None, {"mean": mean})
    >>> methods["mean"].check({"first": 2006})
    ((), {'first': 2006})
    """
    reading = _Reading(HintReader(), pure, idempotent)
    methods: dict[str, Method] = {}
    for member, function in members.items():
        check_member(member)
        methods[member] = _read_function(reading, f"{name}.{member}", function)
    class_specs: dict[str, ClassSpec] = {}
    for member, cls in (classes or {}).items():
        check_member(member)
        class_specs[member], of_class = _read_class(reading, f"{name}.{member}", cls)
        methods |= of_class
    dataset_specs: dict[str, DatasetSpec] = {}
    for member, (said, verbs) in (datasets or {}).items():
        check_member(member)
        dataset_specs[member] = DatasetSpec(member, printable(said, MAX_DOC_CHARS), read_doc(said).summary)
        for verb, function in verbs.items():
            method = methods[f"{member}.{verb}"] = _read_function(reading, f"{name}.{member}.{verb}", function)
            method.spec = replace(method.spec, static=True, idempotent=True)
    parsed = read_doc(doc)
    whole = printable(inspect.cleandoc(doc), 64 * 1024) if doc else ""
    spec = ModuleSpec(
        name=name,
        doc=whole,
        summary=parsed.summary,
        version=printable(version, 100),
        methods={member: methods[member].spec for member in members},
        types=reading.hints.types,
        classes=class_specs,
        datasets=dataset_specs,
    )
    try:
        spec = ModuleSpec.from_json(
            spec.to_json()
        )  # what a caller would refuse is refused here, where it can be mended
    except Malformed as error:
        raise NothingToServe(
            f"{name} can not be described to callers: {error.reason}. Shorten its docstrings, or serve it in parts."
        ) from error
    for member, found in spec.callables().items():
        methods[member].spec = found
    return spec, methods


class _Reading(NamedTuple):
    """What is the same for everything that is read of a module."""

    hints: HintReader
    pure: Collection[str]
    idempotent: Collection[str]


def _read_function(reading: _Reading, target: str, function: Callable[..., Any]) -> Method:
    if isinstance(function, type):
        raise NothingToServe(f"{target} is a class, not a function.")
    if not callable(function):
        raise NothingToServe(f"{target} is not callable, but a {type(function).__name__}. Expose a function.")
    doc = read_doc(inspect.getdoc(function if not isinstance(function, functools.partial) else function.func))
    return _read(reading, target, function, doc)


def _read_class(reading: _Reading, target: str, cls: type) -> tuple[ClassSpec, dict[str, Method]]:
    """Return the spec of a class, and its constructor and methods by the names of `ModuleSpec.callables`."""
    refuse_type(target, cls)
    reading.hints.claim(cls)
    name = _member(target)
    doc = read_doc(cls.__doc__)
    make = constructor(cls)
    own = read_doc(make.__doc__ if make is not cls else None)
    # What a constructor takes may be described in either docstring.
    of_init = own._replace(parameters={**doc.parameters, **own.parameters}, raises=own.raises or doc.raises)
    init = _read(reading, target, make, of_init)
    init.function = cls
    init.spec = replace(init.spec, returns=None)
    found = {name: init}
    specs = {}
    for member, (function, static) in class_members(cls, name).methods.items():
        written = function if static else types.MethodType(function, cls)
        method = _read(reading, f"{target}.{member}", written, read_doc(inspect.getdoc(function)))
        method.function = function
        method.spec = specs[member] = replace(method.spec, static=static)
        found[f"{name}.{member}"] = method
    return ClassSpec(name, doc.body, doc.summary, init.spec, specs), found


def _member(target: str) -> str:
    """Return ``Grid.mean`` of ``institute/module.Grid.mean``."""
    return target.partition(".")[2]


def _read(reading: _Reading, target: str, function: Callable[..., Any], doc: ParsedDoc) -> Method:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise NothingToServe(
            f"{target} has no signature that Python can read ({error}). Expose a function of your own that calls it."
        ) from error
    hints = _hints(target, function, signature)
    specs, cores = [], []
    for parameter in signature.parameters.values():
        if not is_parameter_name(parameter.name):
            raise NothingToServe(f"{target}: the parameter {parameter.name!r} needs another name.")
        hint = _of_parameter(parameter, hints)
        compiled = _compiled(reading.hints, hint, target, parameter.name)
        cores.append((parameter, compiled.core))
        specs.append(_parameter(parameter, compiled.json, doc))
    returned = hints.get("return", inspect.Parameter.empty)
    streams, hint = _streamed(_unwrapped(function), returned)
    result = None if hint is inspect.Parameter.empty else _compiled(reading.hints, hint, target, "its result").json
    spec = MethodSpec(
        name=_member(target).rpartition(".")[2],
        doc=doc.body,
        summary=doc.summary,
        parameters=tuple(specs),
        returns=None if streams else result,
        returns_doc=doc.returns,
        raises=doc.raises,
        streams=streams,
        items=result if streams else None,
        pure=_member(target) in reading.pure,
        idempotent=_member(target) in reading.idempotent,
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
        types=reading.hints.types,
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
