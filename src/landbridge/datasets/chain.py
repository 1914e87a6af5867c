"""The caller's side of reductions beside the data: a recorder that looks like a data set, and sends what it has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from ..errors import CannotTravel, InvalidArguments, Problem, printable
from .vocabulary import BINARY, MOST_NODES, OPERATIONS, UFUNCS, UNARY

__all__ = ["Chain", "Compute"]

Compute: TypeAlias = Callable[[list[Any]], Any]
"""Has a chain evaluated: ``compute(steps)``."""

_TEXT_CHARS = 60
_CHAIN_CHARS = 400


class Chain:
    """Operations of xarray, written down to be run where the data are.

    Made by ``ds.landbridge``. It looks like the data set: ``far.sst.sel(lat=0, method="nearest").mean("time")`` gives
    another chain, and nothing runs or travels before `compute`. NumPy functions as `numpy.cos`, operators, groups
    (``groupby("time.month")``), windows and weights are written as in xarray. What is not offered here does not run at
    an owner: compute first, then go on at home.

    Examples
    --------
    >>> far = ds.landbridge                                                                        # doctest: +SKIP
    >>> clim = far.sst.sel(lat=slice(-5, 5)).groupby("time.month").mean("time").compute()          # doctest: +SKIP
    """

    __slots__ = ("_compute", "_kind", "_names", "_step", "_text")
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100

    def __init__(
        self,
        compute: Compute,
        step: tuple[Any, ...],
        text: str,
        names: tuple[str, ...] = (),
        kind: str = "data",
    ) -> None:
        self._compute = compute
        self._step = step
        self._text = (
            text if len(text) <= _CHAIN_CHARS else f"{text[: _CHAIN_CHARS // 2]} … {text[-_CHAIN_CHARS // 2 :]}"
        )
        self._names = names
        self._kind = kind

    def compute(self) -> xr.Dataset | xr.DataArray:
        """Run the chain where the data are, with one call, and return what it gives.

        Returns
        -------
        xarray.Dataset or xarray.DataArray
            What the same chain gives at home, in memory. Sums of large data may differ in the last digits, as their
            chunks are added up in another order.

        Raises
        ------
        InvalidArguments
            When something does not run at the owner.
        TooLarge
            When a step would take too much memory there; the text says which, and how much.
        CallTimeout
            When it takes longer than the owner allows.
        DatasetChanged
            When the data set is no longer the one that was opened.
        RemoteError
            What xarray raised there; a `KeyError` for a label that is not there, and so on.
        """
        if self._kind != "data":
            raise TypeError(f"{self._text} is not finished: {self._kind}() only makes sense with a reduction after it")
        return self._compute(self._steps())  # type: ignore[no-any-return]

    def _steps(self) -> list[Any]:
        """Return the chain as data: each step once, before those that need it."""
        order: list[Chain] = []
        positions: dict[int, int] = {}
        waiting = [(self, False)]
        while waiting:
            chain, complete = waiting.pop()
            if id(chain._step) in positions:
                continue
            if complete:
                positions[id(chain._step)] = len(order)
                order.append(chain)
                continue
            waiting.append((chain, True))
            waiting.extend((each, False) for each in _chains(chain._step))
        if len(order) > MOST_NODES:
            said = f"{len(order):,} are too many; the limit is {MOST_NODES:,}. Compute a part of it first, then go on"
            raise InvalidArguments("the chain", [Problem("steps", said)])

        def written(part: Any) -> Any:
            if isinstance(part, Chain):
                return {"node": positions[id(part._step)]}
            if isinstance(part, _Arguments):
                return [written(each) for each in part]
            if isinstance(part, _Keywords):
                return {name: written(each) for name, each in part.items()}
            return part

        return [[written(part) for part in chain._step] for chain in order]

    def _without(self, names: list[str]) -> Chain:
        """Return a chain that looks the same and has no variables of these names."""
        step = ("call", self, "drop_vars", _Arguments([list(names)]), _Keywords(errors="ignore"))
        return Chain(self._compute, step, self._text, self._names)

    # --- what looks like a data set -------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"a chain has no {name!r}; a variable of that name is [{name!r}]")
        if name in OPERATIONS[self._kind] and name != "dt":
            return self._method(name)
        if self._kind == "data" and name in self._names:
            return self[name]
        if self._kind == "data" and name == "dt":
            return _Components(self)
        after = f" after {self._kind}()" if self._kind != "data" else ""
        if self._kind == "data" and any(hasattr(each, name) for each in (xr.Dataset, xr.DataArray)):
            raise AttributeError(
                f"{name!r} does not run at the owner of the data. Call compute() on what you have, then .{name} on the "
                f"result. What runs there: {', '.join(sorted(OPERATIONS['data']))}"
            )
        there = ", ".join(sorted([*OPERATIONS[self._kind], *(self._names if self._kind == "data" else ())]))
        raise AttributeError(f"there is no {name!r}{after} that runs at the owner of the data; there are {there}")

    def _method(self, name: str) -> Callable[..., Chain]:
        operation = OPERATIONS[self._kind][name]

        def method(*args: Any, **kwargs: Any) -> Chain:
            if args and isinstance(args[0], dict) and operation.each is not None:
                args, kwargs = args[1:], {**args[0], **kwargs}
            wrong = [key for key in kwargs if not isinstance(key, str)]
            if wrong:
                raise TypeError(f"{wrong[0]!r} is no text; dimensions and variables of a chain are named with texts")
            if operation.each is None:
                for key in kwargs:
                    if key not in operation.parameters:
                        known = ", ".join(operation.parameters) or "no keywords"
                        raise TypeError(f"{name}() at the owner of the data has no {key!r}; it takes {known}")
            recorded = _Arguments(_recorded(each, f"{name}()") for each in args)
            keywords = _Keywords({key: _recorded(each, f"{key} of {name}()") for key, each in kwargs.items()})
            shown = ", ".join([*map(_shown, args), *(f"{key}={_shown(each)}" for key, each in kwargs.items())])
            step = ("call", self, name, recorded, keywords)
            names = (*self._names, *(_new_names(name, kwargs)))
            return Chain(self._compute, step, f"{self._text}.{name}({shown})", names, operation.gives)

        method.__name__ = method.__qualname__ = name
        original = _original(self._kind, name)
        method.__doc__ = f"Record ``{name}`` of xarray, to be run at the owner of the data.\n\n"
        if original is not None:
            method.__doc__ += inspect.getdoc(original) or ""
            method.__signature__ = _signature(original, operation.parameters)  # type: ignore[attr-defined]
        return method

    def __getitem__(self, name: Any) -> Chain:
        if self._kind != "data":
            raise TypeError(f"{self._text} has no items: {self._kind}() only makes sense with a reduction after it")
        if isinstance(name, list) and all(isinstance(each, str) for each in name):
            return Chain(self._compute, ("get", self, name), f"{self._text}[{name!r}]", tuple(name))
        if not isinstance(name, str):
            raise TypeError("Items of a chain are variables; select with .isel(…) or .sel(…)")
        text = f"{self._text}.{name}" if name.isidentifier() and name in self._names else f"{self._text}[{name!r}]"
        return Chain(self._compute, ("get", self, name), text, self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __dir__(self) -> Iterator[str]:
        yield from OPERATIONS[self._kind]
        if self._kind == "data":
            yield "compute"
            yield from (name for name in self._names if name.isidentifier())

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._names)

    def __repr__(self) -> str:
        return f"<landbridge chain {self._text}: .compute() runs it beside the data>"

    # --- what would run at home, with a value that is not here ----------------------------------------------------

    def __bool__(self) -> bool:
        raise TypeError(f"Whether {self._text} is true is not known before compute()")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self._text} is not here to go through; compute() first")

    def __len__(self) -> int:
        raise TypeError(f"How long {self._text} is, is not known before compute()")

    def __float__(self) -> float:
        raise TypeError(f"{self._text} has no value before compute()")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self._text} has no values before compute()")

    def __array_ufunc__(self, ufunc: Any, how: str, *inputs: Any, **kwargs: Any) -> Any:
        """Record a NumPy function of one or two operands."""
        name = UFUNCS.get(ufunc.__name__, ufunc.__name__)
        if how != "__call__" or kwargs or name not in (UNARY if len(inputs) == 1 else BINARY):
            said = f"numpy.{ufunc.__name__}" + (f".{how}" if how != "__call__" else "")
            raise TypeError(f"{said} does not run at the owner of the data; compute() first")
        return self._unary(name) if len(inputs) == 1 else self._operation(name, *inputs)

    # --- operators ------------------------------------------------------------------------------------------------

    def _unary(self, name: str) -> Chain:
        text = f"{name}{_in_brackets(self)}" if name in "-~" else f"{_function(name)}({self._text})"
        return Chain(self._compute, ("unary", name, self), text, self._names)

    def _operation(self, name: str, left: Any, right: Any) -> Chain:
        step = ("op", name, *(_recorded(each, f"an operand of {name}") for each in (left, right)))
        if name[0].isalpha():
            text = f"{_function(name)}({_shown(left)}, {_shown(right)})"
        else:
            text = f"{_in_brackets(left)} {name} {_in_brackets(right)}"
        return Chain(self._compute, step, text, self._names)

    def __neg__(self) -> Chain:
        return self._unary("-")

    def __pos__(self) -> Chain:
        return self

    def __invert__(self) -> Chain:
        return self._unary("~")

    def __abs__(self) -> Chain:
        return self._unary("abs")


def _operator(name: str, reflected: bool) -> Callable[[Chain, Any], Chain]:
    def method(self: Chain, other: Any) -> Chain:
        return self._operation(name, other, self) if reflected else self._operation(name, self, other)

    return method


for _name, _word in {
    "+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "**": "pow", "&": "and",
    "|": "or", "^": "xor",
}.items():  # fmt: skip
    setattr(Chain, f"__{_word}__", _operator(_name, reflected=False))
    setattr(Chain, f"__r{_word}__", _operator(_name, reflected=True))
for _name, _word in {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}.items():
    setattr(Chain, f"__{_word}__", _operator(_name, reflected=False))


class _Arguments(list[Any]):
    """The arguments of a recorded call, in which chains may be."""


class _Keywords(dict[str, Any]):
    """The keywords of a recorded call, in which chains may be."""


class _Components:
    """What stands for ``.dt``: the parts of times."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def __dir__(self) -> list[str]:
        from .vocabulary import COMPONENTS

        return list(COMPONENTS)

    def __getattr__(self, name: str) -> Chain:
        if name not in dir(self):
            raise AttributeError(f"there is no {name!r} of times at the owner; there are {', '.join(dir(self))}")
        chain = self._chain
        step = ("call", chain, "dt", _Arguments([name]), _Keywords())
        return Chain(chain._compute, step, f"{chain._text}.dt.{name}", chain._names)


def _chains(step: tuple[Any, ...]) -> Iterator[Chain]:
    for part in step:
        if isinstance(part, Chain):
            yield part
        elif isinstance(part, _Arguments):
            yield from (each for each in part if isinstance(each, Chain))
        elif isinstance(part, _Keywords):
            yield from (each for each in part.values() if isinstance(each, Chain))


def _recorded(value: Any, where: str) -> Any:
    """Return a value as it travels; what changes at home later does not change the chain."""
    if isinstance(value, Chain):
        return value
    if isinstance(value, xr.DataArray):
        return value.copy()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, (np.generic, bool, int, float))):
        return np.dtype(value).name
    if isinstance(value, (list, tuple)) and not any(isinstance(each, Chain) for each in value):
        return list(value)
    if callable(value) or isinstance(value, (dict, list, tuple, xr.Dataset)):
        raise CannotTravel(
            where,
            f"{printable(type(value).__name__, 60)} is not among what operations at an owner take",
            "Give numbers, texts, times, slices, arrays, or other parts of the same data set",
        )
    return value


def _new_names(method: str, keywords: dict[str, Any]) -> Iterator[str]:
    if method == "rename":
        yield from (each for each in keywords.values() if isinstance(each, str))
    elif method == "assign_coords":
        yield from keywords


def _shown(value: Any) -> str:
    if isinstance(value, Chain):
        return value._text
    if isinstance(value, (xr.DataArray, np.ndarray)):
        return f"<{type(value).__name__} {'×'.join(map(str, value.shape))}>"
    text = printable(repr(value), 200)
    return text if len(text) <= _TEXT_CHARS else text[: _TEXT_CHARS - 1] + "…"


def _in_brackets(value: Any) -> str:
    if isinstance(value, Chain) and value._step[0] == "op" and not value._step[1][0].isalpha():
        return f"({value._text})"
    return _shown(value)


def _function(name: str) -> str:
    return name if name == "abs" else f"np.{name}"


def _original(kind: str, name: str) -> Any:
    """Return the method of xarray that a recorded one is named like."""
    if kind == "data":
        found = getattr(xr.DataArray, name, None)
        return found if callable(found) else getattr(xr.Dataset, name, None)
    from xarray.core.groupby import DataArrayGroupBy
    from xarray.core.resample import DataArrayResample

    classes = {"groupby": DataArrayGroupBy, "resample": DataArrayResample}
    return getattr(classes[kind], name, None) if kind in classes else None


def _signature(original: Any, known: dict[str, Any]) -> inspect.Signature:
    """Return the signature of a method of xarray, without what does not travel."""
    signature = inspect.signature(original)
    kept = [
        each for each in list(signature.parameters.values())[1:] if each.name in known or each.kind == each.VAR_KEYWORD
    ]
    return inspect.Signature(kept)
