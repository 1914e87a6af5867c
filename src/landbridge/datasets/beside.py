"""The owner's side of a chain: which data it works on, for how long, and in how much memory."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from ..backend.context import current_call
from ..errors import CallCancelled, CallTimeout, DatasetChanged
from ..names import Address
from ..settings import memory_bytes
from .opening import open_lazily, opened
from .operations import evaluate
from .remote import Part, fill

if TYPE_CHECKING:
    import xarray

    from .view import DatasetView

__all__ = ["LONGEST_S", "computed"]

LONGEST_S = 600.0
"""How long a chain may run."""

_MEMORY_SHARE = 8
_LEAST_BYTES = 64 * 1024 * 1024
_LOOK_S = 0.2
# Each works with two threads, and may take its share of the memory.
_TURNS = threading.BoundedSemaphore(2)


def computed(view: DatasetView, expression: object) -> xarray.Dataset | xarray.DataArray:
    """Evaluate a chain on one version of a data set, decoded as its readers have it.

    Parameters
    ----------
    view : DatasetView
        The version of the data set.
    expression : list
        The chain, as it arrived; see `landbridge.datasets.operations`.

    Raises
    ------
    CallTimeout
        When it takes longer than `LONGEST_S`.
    CallCancelled
        When its caller no longer wants it.
    DatasetChanged
        When the files are no longer what was opened.
    LandbridgeError
        What `landbridge.datasets.operations.evaluate` raises.
    """
    check = _limits(time.monotonic() + LONGEST_S)
    with _turn(check):
        limit_bytes = max(memory_bytes() // _MEMORY_SHARE, _LEAST_BYTES)
        return evaluate(_decoded(view), expression, limit_bytes=limit_bytes, check=check)


def _limits(end_s: float) -> Callable[[], None]:
    call = current_call()  # asked now, as chunks are worked on in other threads
    target = "the chain" if call is None else call.target

    def check() -> None:
        if call is not None and call.cancelled:
            raise CallCancelled(target, "stopped")
        if time.monotonic() > end_s:
            raise CallTimeout(target, LONGEST_S, by_owner=True)

    return check


@contextlib.contextmanager
def _turn(check: Callable[[], None]) -> Iterator[None]:
    while not _TURNS.acquire(timeout=_LOOK_S):
        check()
    try:
        yield
    finally:
        _TURNS.release()


class _Here:
    """Answers like the owner, without a network: so the same code opens a data set on both sides.

    It does not hold the view, which would otherwise be kept by what is remembered for it.
    """

    address = Address("here", "here", "data")

    def __init__(self, view: DatasetView) -> None:
        self._view = ref(view)

    def open(self) -> object:
        return self._found().open()

    def select(self, version: str, wanted: Sequence[Part]) -> None:
        blocks = self._found().select([part.travelling() for part in wanted])
        fill([part.into for part in wanted], blocks, str(self.address))

    def _found(self) -> DatasetView:
        view = self._view()
        if view is None:
            raise DatasetChanged(str(self.address))
        return view

    def __dask_tokenize__(self) -> tuple[str, int]:
        return str(self.address), id(self)


_datasets: WeakKeyDictionary[DatasetView, xarray.Dataset] = WeakKeyDictionary()
_opening = threading.Lock()


def _decoded(view: DatasetView) -> xarray.Dataset:
    with _opening:
        found = _datasets.get(view)
        if found is None:
            found = _datasets[view] = _with_indexes(open_lazily(opened(_Here(view))))
        return found


def _with_indexes(dataset: xarray.Dataset) -> xarray.Dataset:
    """Return a data set with the indexes that `xarray.open_dataset` makes at a reader's."""
    names = [name for name, each in dataset.coords.items() if each.dims == (name,) and name not in dataset.xindexes]
    return dataset.assign_coords({name: dataset.variables[name] for name in names})
