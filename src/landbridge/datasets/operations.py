"""Evaluate a chain of operations that came from afar, beside the data; only what it gives travels.

A chain is a list of steps, the last of which is wanted. A step names earlier ones by ``{"node": position}``::

    ["data"]                                    the data set
    ["get", node, name]                         a variable or coordinate of it; ``"time.month"``; or a list of names
    ["unary", operator, node]                   an operator or a NumPy function (`vocabulary.UNARY`)
    ["op", operator, left, right]               of two operands, each a step or a value (`vocabulary.BINARY`)
    ["call", node, method, arguments, keywords] a method of xarray (`vocabulary.OPERATIONS`)

Each step is evaluated once and kept until the last that needs it. What a step would take is estimated before it runs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..errors import (
    RAISED_BUILTINS,
    InvalidArguments,
    LandbridgeError,
    Malformed,
    Problem,
    printable,
    remote_error,
)
from .arguments import Refused, brought, checked, is_scalar
from .bounded import Data, Memory, data_variables
from .estimates import (
    check_groups,
    reserve_bins,
    reserve_broadcast,
    reserve_dot,
    reserve_quantiles,
    reserve_selected,
    variables_of,
)
from .vocabulary import BINARY, MOST_NODES, OPERATIONS, UNARY, WITHOUT_TEXT, Operation

__all__ = ["evaluate"]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge, "&": operator.and_, "|": operator.or_,
    "^": operator.xor,
}  # fmt: skip
_NUMERIC = "biufcmM"
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_OF_ONE: dict[str, Callable[[Any], Any]] = {"-": operator.neg, "~": operator.invert, "abs": abs}


@dataclass(frozen=True)
class _Prepared:
    """Groups, windows or weights of data: `make` gives xarray's object for them."""

    kind: str
    data: Data
    make: Callable[[Data], Any]
    group: str = ""
    """The dimension that the groups become."""
    along: tuple[Any, ...] = ()
    """The dimensions that groups and windows are of."""
    groups: int = 1


def evaluate(
    dataset: xr.Dataset, expression: object, *, limit_bytes: int, check: Callable[[], None]
) -> xr.Dataset | xr.DataArray:
    """Evaluate a chain of operations on a data set.

    Parameters
    ----------
    dataset : xarray.Dataset
        Decoded; may be lazy. It is not changed.
    expression : list
        The steps, as they arrived.
    limit_bytes : int
        The most memory that the values of the chain may take at a time. With dask, variables beyond it are worked on
        in chunks; what the chain gives must fit.
    check : callable
        Called between steps and chunks. What it raises, because the caller has cancelled or the time is over, ends
        the work.

    Returns
    -------
    xarray.Dataset or xarray.DataArray
        In memory.

    Raises
    ------
    Malformed
        `expression` is no chain.
    InvalidArguments
        An operation or argument that does not run here.
    TooLarge
        A step would take more memory than there is; also when dask, which works in chunks, is not installed.
    RemoteError
        What xarray raised; also the builtin that it raised, a `KeyError` for a label that is not there.

    Examples
    --------
    >>> ds = xr.Dataset({"sst": ("time", [1.0, 3.0])})
    >>> mean = [["data"], ["get", {"node": 0}, "sst"], ["call", {"node": 1}, "mean", ["time"], {}]]
    >>> float(evaluate(ds, mean, limit_bytes=1_000_000, check=lambda: None))
    2.0
    """
    return _Evaluation(dataset, Memory(limit_bytes, check)).outcome(_steps(expression))


def _steps(expression: object) -> list[list[Any]]:
    """Return the steps if each has one of the forms and names only earlier ones."""
    if not isinstance(expression, (list, tuple)) or not expression:
        raise Malformed("a chain is no list of steps")
    if len(expression) > MOST_NODES:
        said = f"{len(expression):,} are too many; the limit is {MOST_NODES:,}. Compute a part of the chain first"
        raise InvalidArguments("the chain", [Problem("steps", said)])
    steps = []
    for position, step in enumerate(expression):
        match step:
            case ["data"]:
                pass
            case ["get", of, _] | ["unary", str(), of] if _is_name_of_step(of):
                pass
            case ["op", str(), _, _]:
                pass
            case ["call", of, str(), list(), dict(keywords)] if _is_name_of_step(of) and all(
                type(key) is str for key in keywords
            ):
                pass
            case _:
                raise Malformed(f"step {position} of a chain has none of the forms of steps")
        if not all(0 <= named < position for named in _named(step)):
            raise Malformed(f"step {position} of a chain names one that is not before it")
        steps.append(list(step))
    return steps


def _named(step: list[Any] | tuple[Any, ...]) -> Iterator[int]:
    """Give the positions of the steps that a step names."""
    parts = list(step[1:])
    if step[0] == "call":
        parts = [step[1], *step[3], *step[4].values()]
    for part in parts:
        if _is_name_of_step(part):
            yield part["node"]


def _is_name_of_step(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 1 and type(value.get("node")) is int


def _named_dims(steps: list[list[Any]]) -> set[str]:
    """Return dimensions that a later step will need in one piece, as far as the steps name them."""
    found: set[str] = set()
    for step in steps:
        if step[0] != "call":
            continue
        known = OPERATIONS["data"].get(step[2])
        if known is None or not known.whole:
            continue
        if known.each is not None:
            found |= {name for name in step[4] if name not in known.parameters}
        given = [step[4].get("dim")]
        if "dim" in known.parameters:
            given += step[3][list(known.parameters).index("dim") :][:1]
        for dims in given:
            found |= {dim for dim in (dims if isinstance(dims, list) else [dims]) if isinstance(dim, str)}
    return found


class _Evaluation:
    """The evaluation of one chain."""

    def __init__(self, dataset: xr.Dataset, memory: Memory) -> None:
        self._dataset = dataset
        self._memory = memory
        self._values: dict[int, Data | _Prepared] = {}

    def outcome(self, steps: list[list[Any]]) -> Data:
        self._memory.prefer_whole(_named_dims(steps))
        last_use = {named: position for position, step in enumerate(steps) for named in _named(step)}
        for position, step in enumerate(steps):
            self._memory.check()
            if position != len(steps) - 1 and position not in last_use:
                continue  # nobody needs it
            self._values[position] = self._guarded(step)
            for named in set(_named(step)):
                if last_use[named] == position:
                    del self._values[named]
            held = self._values.values()
            self._memory.hold(value.data if isinstance(value, _Prepared) else value for value in held)
        last = self._values[len(steps) - 1]
        if isinstance(last, _Prepared):
            raise Malformed(f"a chain ends with {last.kind}(), which gives no data: a reduction has to follow")
        with _told("the outcome"):
            return self._memory.load(last)

    def _guarded(self, step: list[Any]) -> Data | _Prepared:
        kind = step[0]
        with _told(f".{step[2]}(…)" if kind == "call" else repr(step[-1] if kind == "get" else step[1:2])):
            if kind == "data":
                return self._dataset
            if kind == "get":
                return self._get(self._data(step[1]), step[2])
            if kind == "unary":
                return self._unary(step[1], step[2])
            if kind == "op":
                return self._binary(step[1], self._operand(step[2]), self._operand(step[3]))
            return self._call(step[1], step[2], step[3], step[4])

    # --- operands -------------------------------------------------------------------------------------------------

    def _operand(self, value: Any) -> Any:
        return self._values[value["node"]] if _is_name_of_step(value) else brought(value)

    def _data(self, value: Any) -> Data:
        found: Data | _Prepared = self._operand(value)
        if isinstance(found, _Prepared):
            raise Refused(f"{found.kind}() gives no data: a reduction has to follow")
        return found

    def _ready(self, value: Any, whole: Any = ()) -> Any:
        """Return an operand so that xarray can work on it."""
        if not isinstance(value, (xr.DataArray, xr.Dataset)):
            return value
        ready = self._memory.ready(value, whole)
        if ready is not value and not ready.chunks:
            for position, known in self._values.items():
                if known is value:
                    self._values[position] = ready
        return ready

    # --- steps ----------------------------------------------------------------------------------------------------

    def _get(self, data: Data, name: Any) -> Data:
        if isinstance(name, (list, tuple)):
            if isinstance(data, xr.DataArray):
                raise Refused("a list of names selects from a data set, not from an array")
            return data[list(checked("existing_many", name, data, "name"))]
        return data[checked("group", name, data, "name")]

    def _unary(self, name: str, operand: Any) -> Data:
        if name not in UNARY:
            raise Refused(f"{printable(name, 40)!r} does not run beside the data")
        data = self._ready(self._data(operand))
        for variable in data_variables(data).values():
            _check_numeric(name, variable)
        reserve_broadcast(self._memory, data)
        found = _OF_ONE[name](data) if name in _OF_ONE else getattr(np, name)(data)
        return self._settled(found)

    def _binary(self, name: str, left: Any, right: Any) -> Data:
        if name not in BINARY:
            raise Refused(f"{printable(name, 40)!r} does not run beside the data")
        if isinstance(left, _Prepared) or isinstance(right, _Prepared):
            return self._grouped_binary(name, left, right)
        operands = [left, right]
        here = next((each for each in operands if isinstance(each, (xr.DataArray, xr.Dataset))), None)
        if here is None:
            raise Malformed("a step of a chain works on values alone")
        operands = [self._ready(checked("operand", each, here, "operand")) for each in operands]
        for each in operands:
            for variable in variables_of(each):
                if name not in _COMPARISONS:
                    _check_numeric(name, variable)
            if isinstance(each, (str, bytes, np.str_, np.bytes_)) and name not in _COMPARISONS:
                raise Refused(f"{name} does not work on texts")
        reserve_broadcast(self._memory, *operands)
        function = _OPERATORS[name] if name in _OPERATORS else getattr(np, name)
        return self._settled(function(*operands))

    def _grouped_binary(self, name: str, left: Any, right: Any) -> Data:
        grouped, other = (left, right) if isinstance(left, _Prepared) else (right, left)
        if not isinstance(grouped, _Prepared) or grouped.kind != "groupby" or name not in _OPERATORS:
            raise Refused(f"{name} does not work on groups, windows or weights, but for those of groupby")
        if not isinstance(other, (xr.DataArray, xr.Dataset)):
            raise Refused(f"{name} works on groups and data that have the groups as a dimension")
        other = self._ready(checked("operand", other, grouped.data, "operand"))
        for variable in [*variables_of(grouped.data), *variables_of(other)]:
            _check_numeric(name, variable)
        group = grouped.make(grouped.data)
        without = other.isel({dim: 0 for dim in other.dims if dim == grouped.group}, drop=True)
        reserve_broadcast(self._memory, grouped.data, without, copies=2)
        # xarray changes the coordinates of the other operand in place.
        pair = (group, other.copy(deep=False)) if grouped is left else (other.copy(deep=False), group)
        return self._settled(_OPERATORS[name](*pair))

    def _call(self, of: Any, method: str, args: list[Any], kwargs: dict[str, Any]) -> Data | _Prepared:
        subject = self._operand(of)
        kind = subject.kind if isinstance(subject, _Prepared) else "data"
        known = OPERATIONS[kind].get(method)
        data = subject.data if isinstance(subject, _Prepared) else subject
        if known is None:
            raise Refused(f"{printable(method, 60)!r} does not run beside the data{_of_kind(kind)}")
        positional, keywords = self._arguments(known, data, args, kwargs)
        along = _along(data, subject, keywords)
        if known.calculates:
            _check_calculates(method, kind, data, keywords, along)
        if method == "quantile":
            repeated = isinstance(subject, _Prepared) and not along.isdisjoint(subject.along)
            reserve_quantiles(self._memory, data, keywords, along, subject.groups if repeated else 1)
        if isinstance(subject, _Prepared):
            return self._reduced(subject, method, known, keywords)
        if known.effect == "prepare":
            return self._prepared(data, method, keywords)
        if known.effect == "select":
            return self._selected(data, method, positional, keywords)
        return self._worked(data, method, known, keywords)

    def _arguments(
        self, known: Operation, data: Data, args: list[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        given = [self._operand(each) for each in args]
        keywords = {name: self._operand(value) for name, value in kwargs.items()}
        for value in (*given, *keywords.values()):
            if isinstance(value, _Prepared):
                raise Refused(f"{value.kind}() gives no data: a reduction has to follow")
        if known.many is not None:
            return [checked(known.many, each, data, "argument") for each in given], self._named(known, data, keywords)
        if len(given) > len(known.parameters):
            raise Refused(f"{len(given)} arguments without a name are too many")
        for name, value in zip(known.parameters, given, strict=False):
            if name in keywords:
                raise Refused(f"{name!r} is given twice")
            keywords[name] = value
        return [], self._named(known, data, keywords)

    def _named(self, known: Operation, data: Data, keywords: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in keywords.items():
            argument = known.parameters.get(name, known.each)
            if argument is None:
                raise Refused(f"there is no parameter {printable(name, 60)!r}")
            try:
                found[name] = checked(argument, value, data, name)
            except Refused as refused:
                raise Refused(f"{printable(name, 60)}: {refused}") from None
        return found

    def _selected(self, data: Data, method: str, positional: list[Any], keywords: dict[str, Any]) -> Data:
        if method in ("sel", "isel"):
            keywords = {name: self._in_memory(value) for name, value in keywords.items()}
            indexers = {name: each for name, each in keywords.items() if name in data.dims or name in data.coords}
            reserve_selected(self._memory, data, indexers)
        if method == "rename" and "new_name_or_name_dict" in keywords:
            positional = [keywords.pop("new_name_or_name_dict")]
            if isinstance(data, xr.Dataset):
                raise Refused("a data set has no name; name the variable, as in rename(old='new')")
        for name in keywords if method == "rename" else ():
            if name not in data.dims:
                checked("existing", name, data, name)
        return self._settled(getattr(data, method)(*positional, **keywords))

    def _worked(self, data: Data, method: str, known: Operation, keywords: dict[str, Any]) -> Data:
        whole = _whole_dims(data, method, keywords) if known.whole else ()
        data = self._ready(data, whole)
        if method == "dt":
            return self._settled(getattr(data.dt, keywords["component"]))
        if method in ("interp", "assign_coords") or keywords.get("drop"):
            keywords = {name: self._in_memory(value) for name, value in keywords.items()}
        keywords = {name: self._ready(value) for name, value in keywords.items()}
        if method == "interp":
            indexers = {name: each for name, each in keywords.items() if name in data.dims or name in data.coords}
            reserve_selected(self._memory, data, indexers, least_itemsize=8)
        elif method == "dot":
            reserve_dot(self._memory, data, keywords)
        elif method == "fillna" and isinstance(data, xr.Dataset) and not is_scalar(keywords.get("value")):
            raise Refused("a data set is filled with one value")
        elif known.effect == "stream":
            reserve_broadcast(self._memory, data, *(each for each in keywords.values() if variables_of(each)))
        return self._settled(getattr(data, method)(**keywords), known.effect)

    def _prepared(self, data: Data, method: str, keywords: dict[str, Any]) -> _Prepared:
        data = self._ready(data)
        if method == "weighted":
            weights = self._ready(keywords["weights"])
            if not isinstance(weights, xr.DataArray):
                raise Refused("weights are a DataArray")
            reserve_broadcast(self._memory, data, weights)
            return _Prepared("weighted", data, lambda data: data.weighted(weights))
        if method == "groupby":
            name = keywords["group"]
            groups = self._in_memory(data[name])
            if groups.ndim != 1:
                data = self._in_memory(data)
            if data.chunks and name in (data.coords if isinstance(data, xr.DataArray) else data.variables):
                add = (
                    data.assign if name in data_variables(data) and isinstance(data, xr.Dataset) else data.assign_coords
                )
                data = data if name in data.dims else add({name: groups.variable})
            count = len(data.groupby(name))
            check_groups(count)
            return _Prepared(
                "groupby", data, lambda data: data.groupby(name), str(groups.name), along=groups.dims, groups=count
            )
        if method == "resample":
            bins = reserve_bins(self._memory, data, keywords)
            dims = tuple(dim for dim in keywords if dim in data.dims)
            return _Prepared("resample", data, lambda data: data.resample(**keywords), along=dims, groups=bins)
        dims = tuple(dim for dim in keywords if dim in data.dims)
        windows = math.prod(int(keywords[dim]) for dim in dims)
        if method == "rolling":
            reserve_broadcast(self._memory, data, copies=windows)
            return _Prepared("rolling", data, lambda data: data.rolling(**keywords), along=dims)
        grows = [2 + int(keywords[dim]) // max(1, data.sizes[dim]) for dim in dims]
        reserve_broadcast(self._memory, data, copies=math.prod(grows) if keywords.get("boundary") == "pad" else 1)
        return _Prepared("coarsen", data, lambda data: data.coarsen(**keywords), along=dims)

    def _reduced(self, subject: _Prepared, method: str, known: Operation, keywords: dict[str, Any]) -> Data:
        data = subject.data
        if known.whole:
            data = self._in_memory(data)
        return self._settled(getattr(subject.make(data), method)(**keywords), known.effect)

    # --- memory ---------------------------------------------------------------------------------------------------

    def _settled(self, found: Any, effect: str = "stream") -> Data:
        if not isinstance(found, (xr.DataArray, xr.Dataset)):
            raise Refused("it gives no data")
        return self._memory.settled(found, effect == "reduce")

    def _in_memory(self, value: Any) -> Any:
        return self._memory.load(value) if isinstance(value, (xr.DataArray, xr.Dataset)) else value


def _whole_dims(data: Data, method: str, keywords: Mapping[str, Any]) -> set[Any] | None:
    if method == "sortby":
        names = keywords["variables"]
        return {dim for name in ([names] if isinstance(names, str) else names) for dim in data[name].dims}
    if method == "interp":
        named = [name for name in keywords if name in data.dims or name in data.coords]
        return {dim for name in named for dim in ((name,) if name in data.dims else data.coords[name].dims)}
    dims = keywords.get("dim")
    if dims is None or dims is ... or (isinstance(dims, list) and ... in dims):
        return None
    return {dims} if isinstance(dims, str) else set(dims)


def _along(data: Data, subject: Data | _Prepared, keywords: Mapping[str, Any]) -> set[Any]:
    """Return the dimensions that an operation works along; all of them if it names none."""
    dims = keywords.get("dim")
    if dims is None and isinstance(subject, _Prepared) and subject.along:
        return set(subject.along)
    if dims is None and "coord" in keywords:
        names = keywords["coord"]
        return {dim for name in ([names] if isinstance(names, str) else names) for dim in data[name].dims}
    if dims is None or dims is ... or (isinstance(dims, list) and ... in dims):
        return set(data.dims)
    return {dims} if isinstance(dims, str) else set(dims)


def _check_calculates(method: str, kind: str, data: Data, keywords: Mapping[str, Any], along: set[Any]) -> None:
    """Refuse to calculate with Python's objects: that takes any memory, and stops all other threads meanwhile."""
    table = isinstance(data, xr.Dataset)
    if table and method in WITHOUT_TEXT and kind in ("data", "groupby", "resample"):
        return
    for operand in (data, *keywords.values()):
        for name, variable in data_variables(operand).items() if variables_of(operand) else ():
            if table and operand is data and variable.dims and along.isdisjoint(variable.dims):
                continue  # xarray leaves it as it is
            if variable.dtype.kind not in _NUMERIC:
                raise Refused(f"{method} does not work on {printable(repr(name), 80)}, which holds {variable.dtype}")


def _check_numeric(name: str, variable: Any) -> None:
    if variable.dtype.kind not in _NUMERIC:
        raise Refused(f"{name} does not work on {variable.dtype}")


def _of_kind(kind: str) -> str:
    names = ", ".join(sorted(OPERATIONS[kind]))
    return f"; what does{'' if kind == 'data' else f' after {kind}()'}: {names}"


class _told:
    """Have what goes wrong told with an error of ours: which step it was, and what xarray says."""

    def __init__(self, step: str) -> None:
        self._step = printable(step, 80)

    def __enter__(self) -> None:
        self._numbers = np.errstate(all="ignore")
        self._numbers.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._numbers.__exit__(kind, error, trace)
        if isinstance(error, Refused):
            raise InvalidArguments("the chain", [Problem(self._step, str(error))]) from None
        if isinstance(error, Exception) and not isinstance(error, LandbridgeError):
            name = next((cls.__name__ for cls in type(error).__mro__ if cls.__name__ in RAISED_BUILTINS), None)
            said = f"{printable(error, 2000)} (in {self._step})"
            raise remote_error("the chain", type(error).__name__, said, "", name) from None
