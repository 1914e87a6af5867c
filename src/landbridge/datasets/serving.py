"""Exposing data sets: a function that returns one, with `dataset`, or a file as it is."""

from __future__ import annotations

import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload
from weakref import WeakKeyDictionary

from ..backend.execution import own_errors
from ..backend.expose import Exposed, Exposure, Verbs, marked
from ..errors import DatasetChanged, Malformed, TooLarge, printable
from ..security import check_pattern
from . import MEMBER_OF_FILE

if TYPE_CHECKING:
    import xarray

    from .view import DatasetView
    from .zarrkeys import ZarrKeys

__all__ = ["dataset", "file_exposure", "names_data", "opens", "verbs"]

_NAMELESS = "value"

_MOST_KEYS = 64
_MOST_BYTES = 64 * 1024 * 1024

F = TypeVar("F", bound="Callable[[], xarray.Dataset]")


@overload
def dataset(function: F, /) -> F: ...
@overload
def dataset(*, share: Sequence[str] = ...) -> Callable[[F], F]: ...
def dataset(function: Any = None, /, *, share: Sequence[str] = ()) -> Any:
    """Expose what a function returns as a data set when its module is served; at home the function stays what it is.

    Colleagues open it lazily, with ``lb.open("institute/module.name")`` or by calling it like at home. The function is
    called once, when the data set is first asked for, and again when a file that the data set was opened from has
    changed. Each backend that serves the module must get the same data.

    Parameters
    ----------
    function : callable, optional
        Takes no arguments and returns an `xarray.Dataset`, lazy or not.
    share : sequence of str
        Who may read it beyond the owner's institute: ``awi/anna``, ``awi/*`` or ``*/*``.

    Returns
    -------
    callable
        The function itself.

    Raises
    ------
    InvalidName
        When an entry of `share` is not a pattern.
    TypeError
        When what is decorated is no function without parameters.

    Examples
    --------
    >>> import landbridge as lb
    >>> @lb.dataset(share=["awi/*"])
    ... def sst():
    ...     import xarray as xr
    ...     return xr.Dataset({"sst": ("time", [14.1, 14.3])})
    >>> sst().sizes["time"]
    2
    """
    patterns = (share,) if isinstance(share, str) else tuple(share)
    home = sys._getframe(1).f_globals.get("__name__", "")
    rules = tuple(check_pattern(pattern) for pattern in patterns)

    def expose(function: F) -> F:
        if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError(f"lb.dataset exposes what a plain function returns, not {type(function).__name__}")
        if inspect.signature(function).parameters:
            raise TypeError(
                f"{function.__name__} takes parameters, and a data set has none: readers select from it. Expose one "
                "function for each data set, or use lb.method for what depends on arguments"
            )
        return marked(function, home, Exposed(function, share=rules, dataset=partial(_of_function, function)))

    return expose if function is None else expose(function)


def names_data(what: str) -> bool:
    """Return whether `what` names data to be served, rather than a Python file, package or module.

    Examples
    --------
    >>> names_data("sst_*.nc"), names_data("ocean.py"), names_data("scipy.stats")
    (True, False, False)
    """
    if any(sign in what for sign in "*?["):
        return True
    path = Path(what)
    return path.suffix != ".py" and path.exists() and not (path / "__init__.py").is_file()


def file_exposure(what: str) -> Exposure:
    """Return what a module exposes that serves a data file, a Zarr folder, or all files of a pattern as one data set.

    Raises
    ------
    NothingToServe
        When there is no such file, or it cannot be opened as a data set; the text says why.
    MissingExtra
        When a package is needed to read it.
    """
    from .sources import file_source

    source = file_source(what, what)
    title = source.current().dataset.attrs.get("title")  # what cannot be opened is said now, not to a colleague
    source.close()
    doc = printable(title, 1000) if isinstance(title, str) and title.strip() else f"The data of {Path(what).name}."

    def served() -> None:
        raise NotImplementedError  # read through the view, never called

    served.__doc__ = doc
    exposed = Exposed(served, dataset=lambda target: verbs(file_source(target, what)))
    return Exposure(doc, "", {MEMBER_OF_FILE: exposed}, ())


def opens(value: object) -> Verbs | None:
    """Return what can be asked of a value that is kept as of a data set; None when it is none.

    Parameters
    ----------
    value : object
        A Dataset, or a DataArray, which is the one variable of a data set.
    """
    xarray = sys.modules.get("xarray")
    if xarray is None:
        return None
    if isinstance(value, xarray.DataArray):
        value = value.to_dataset(name=_NAMELESS if value.name is None else None)
    if not isinstance(value, xarray.Dataset):
        return None
    from .view import DatasetView

    return verbs(_Unchanging(DatasetView(value, "kept", raw=False)))


class _Unchanging:
    """The source of a value that is kept: it has one version."""

    def __init__(self, view: DatasetView) -> None:
        self._view = view

    def current(self) -> DatasetView:
        return self._view

    def at(self, version: str) -> DatasetView:
        return self._view


def _of_function(function: Callable[[], xarray.Dataset], target: str) -> Verbs:
    from .sources import function_source

    return verbs(function_source(target, function))


class Versions(Protocol):
    """Gives views of a data set, one for each version of it."""

    def current(self) -> DatasetView:
        """Return the data set as it is now."""

    def at(self, version: str) -> DatasetView:
        """Return that version; raises `DatasetChanged` when it is no longer the current one."""


def verbs(source: Versions) -> Verbs:
    """Return what can be asked of a data set, each with the function that answers it."""

    def open() -> dict[str, Any]:
        with own_errors():
            return source.current().open()

    def select(version: str, wanted: list[Any]) -> Iterator[list[Any]]:
        with own_errors():
            yield from source.at(version).select(wanted)

    def get(keys: list[Any], version: str | None = None) -> dict[str, Any]:
        with own_errors():
            view = source.current() if version is None else source.at(version)
            return {"version": view.version, "values": _values(_keys_of(view), keys)}

    def compute(version: str, expression: list[Any]) -> Any:
        from .beside import computed

        with own_errors():
            return computed(source.at(version), expression)

    return {"open": open, "select": select, "get": get, "compute": compute}


# By views, which what is remembered for them must not keep.
_keys: WeakKeyDictionary[DatasetView, ZarrKeys] = WeakKeyDictionary()
_making_keys = threading.Lock()


def _keys_of(view: DatasetView) -> ZarrKeys:
    from .zarrkeys import ZarrKeys

    with _making_keys:
        found = _keys.get(view)
        if found is None:
            found = _keys[view] = ZarrKeys(
                view.dataset, partial(_read_slices, weakref.ref(view)), partial(_chunks_of, view.dataset)
            )
        return found


def _read_slices(of: weakref.ref[DatasetView], name: str, box: tuple[slice, ...]) -> Any:
    view = of()
    if view is None:
        raise DatasetChanged(name)
    return view.read(name, ["outer", list(box)])


def _chunks_of(dataset: xarray.Dataset, name: str) -> dict[str, int] | None:
    from .view import source_chunks

    variable = dataset.variables[name]
    chunks = source_chunks(variable)
    return None if chunks is None else {str(dim): length for dim, length in zip(variable.dims, chunks, strict=True)}


def _values(keys: ZarrKeys, wanted: list[Any]) -> list[bytes | None]:
    if len(wanted) > _MOST_KEYS:
        raise Malformed(f"{len(wanted)} keys are asked for at once; at most {_MOST_KEYS} are given")
    values: list[bytes | None] = []
    size = 0
    for each in wanted:
        match each:
            case [str(key), (int() | None) as start, (int() | None) as stop]:
                value = keys.get(key, start, stop)
            case _:
                raise Malformed("a key is asked for in another form than [key, start, stop]")
        size += len(value or b"")
        if size > _MOST_BYTES:
            raise TooLarge("What is asked for at once", size, _MOST_BYTES, "Ask for fewer keys at a time")
        values.append(value)
    return values
