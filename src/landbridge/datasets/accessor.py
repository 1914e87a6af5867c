"""`ds.landbridge`: where chains of operations begin, if `ds` is still what was opened."""

from __future__ import annotations

import contextlib
import re
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

import xarray as xr
from xarray.core import indexing

from .chain import Chain

__all__ = ["Origin", "remember"]

_TEXT = "ds.landbridge"
_WRAPPERS = (indexing.MemoryCachedArray, indexing.CopyOnWriteArray, indexing.NumpyIndexingAdapter)


class Computes(Protocol):
    """Where the data are, as far as chains need to know."""

    def compute(self, version: str, steps: list[Any]) -> Any:
        """Have a chain evaluated."""


@dataclass
class Origin:
    """What a data set was when it was opened; xarray keeps it, as what closes the data set, on the one it opened.

    Attributes
    ----------
    source : object
        Computes chains.
    version : str
        Which version was opened.
    data : dict
        The data of each variable.
    coords : frozenset
        Which of them are coordinates.
    dropped : list of str
        The variables that were left out; chains leave them out, too.
    decoded : bool
        Whether it was opened as everybody opens it.
    """

    source: Computes
    version: str
    data: dict[Hashable, Any]
    coords: frozenset[Hashable]
    dropped: list[str] = field(default_factory=list)
    decoded: bool = True

    @classmethod
    def of(cls, dataset: xr.Dataset, source: Computes, version: str, dropped: list[str], decoded: bool) -> Origin:
        """Return the origin of a data set that has just been opened."""
        data = {name: _inner(variable) for name, variable in dataset.variables.items()}
        return cls(source, version, data, frozenset(dataset.coords), dropped, decoded)

    def __call__(self) -> None:
        """Close the data set: nothing is open."""

    def describes(self, dataset: xr.Dataset) -> bool:
        """Return whether `dataset` is what was opened, with nothing added, replaced, selected or loaded."""
        if set(dataset.variables) != set(self.data) or set(dataset.coords) != self.coords:
            return False
        return all(self._is_as_opened(name, each, dataset) for name, each in dataset.variables.items())

    def _is_as_opened(self, name: Hashable, variable: Any, dataset: xr.Dataset) -> bool:
        if _inner(variable) is self.data[name]:
            return True
        if name in dataset.xindexes:  # xarray makes the indexes after we are through
            first = xr.Variable((name,), self.data[name])
            return variable.dims == (name,) and bool(first.to_index().equals(dataset.indexes[name]))
        if variable.chunks is not None:
            # xarray's name for chunks that were made when the data set was opened.
            return re.fullmatch(rf"open_dataset-{re.escape(str(name))}-[0-9a-f]+", variable.data.name) is not None
        return False


class _Beside:
    """Computes the chains of a data set, as long as that is what was opened."""

    def __init__(self, origin: Origin, dataset: xr.Dataset | None, variables: dict[Hashable, Any]) -> None:
        self._origin = origin
        self._dataset = None if dataset is None else weakref.ref(dataset)
        self._variables = variables

    def __call__(self, steps: list[Any]) -> Any:
        dataset = self._dataset() if self._dataset is not None else None
        if dataset is not None:
            same = all(self._variables.get(name) is each for name, each in dataset.variables.items())
            if not same or len(dataset.variables) != len(self._variables) or set(dataset.coords) != self._origin.coords:
                raise ValueError(
                    "The data set was changed after it was opened, and its owner knows nothing of that. Open it again "
                    "for what runs beside the data."
                )
        return self._origin.source.compute(self._origin.version, steps)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Beside, (self._origin, None, {})


def _inner(variable: Any) -> Any:
    data = variable._data
    while isinstance(data, _WRAPPERS):
        data = data.array
    return data


def remember(dataset: xr.Dataset) -> None:
    """Have `ds.landbridge` know a data set that has just been opened, whatever is loaded of it later."""
    with contextlib.suppress(ValueError):
        dataset.landbridge  # noqa: B018 - xarray keeps what it gave


@xr.register_dataset_accessor("landbridge")  # type: ignore[no-untyped-call, untyped-decorator]
def begin(dataset: xr.Dataset) -> Chain:
    """Return the beginning of chains of operations that run beside the data.

    Parameters
    ----------
    dataset : xarray.Dataset
        What `landbridge.open` returned.

    Raises
    ------
    ValueError
        When it is something else: a part, a copy, or changed.
    """
    origin = dataset._close
    if not isinstance(origin, Origin) or not origin.describes(dataset):
        raise ValueError(
            "Only a data set as landbridge.open returned it knows its owner: this one is a part, a copy, or was loaded "
            "or changed since. Begin from the one that was opened: far = landbridge.open(…).landbridge, and then write "
            "the operations with far"
        )
    if not origin.decoded:
        raise ValueError(
            "The data set was opened with options of decoding (as decode_times), and beside the data it is decoded "
            "as usual. Open it without them for what runs there."
        )
    names = tuple(str(name) for name in dataset.variables)
    chain = Chain(_Beside(origin, dataset, dict(dataset.variables)), ("data",), _TEXT, names)
    return chain._without(origin.dropped) if origin.dropped else chain
