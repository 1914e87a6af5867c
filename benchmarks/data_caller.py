"""A caller that reads the data of others and measures it; each function is an order that it may be given."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

# A caller without the compression that is installed beside us, and so one that is sent nothing compressed.
if "--no-compression" in sys.argv:
    sys.modules["numcodecs"] = None  # type: ignore[assignment]

import numpy as np
import xarray as xr
from orders import follow

import landbridge as lb

_net: lb.Network | None = None
_open: dict[str, xr.Dataset] = {}


def network() -> lb.Network:
    """Return the one network of this process."""
    global _net
    if _net is None:
        _net = lb.connect()
    return _net


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    value = call()
    return time.perf_counter() - begin, value


# --- slices of a data set ---------------------------------------------------------------------------------------------


def _trajectory(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    points = np.arange(500)
    return {
        dim: xr.DataArray(points * step % dataset.sizes[dim], dims="p")
        for dim, step in (("time", 2), ("lat", 3), ("lon", 7))
    }


SLICES: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "one map": lambda d: d.u[17],
    "point series": lambda d: d.u[:, 60, 120],
    "box of 20 x 30, 30 days": lambda d: d.u[:120, 50:70, 100:130],
    "trajectory of 500 points": lambda d: d.u.isel(_trajectory(d)),
    "strided ::10, ::4, ::4": lambda d: d.u[::10, ::4, ::4],
    "bulk": lambda d: d.u[:300],
}


def round_trip(calls: int) -> float:
    """Return how long a small call takes, at best: what the line takes, and as little as possible of what disturbs."""
    add = network().bench.work.add
    return min(seconds(lambda: add(1, 2))[0] for _ in range(calls))


def opening(address: str, file: str) -> dict[str, float]:
    """Open the data set, and the file itself; both stay open for `selection`."""
    took, dataset = seconds(lambda: lb.open(address))
    _open["remote"] = dataset
    at_home, _open["home"] = seconds(lambda: xr.open_dataset(file))
    return {"s": took, "home_s": at_home, "needed": sum(each.nbytes for each in dataset.indexes.values())}


def selection(what: str) -> dict[str, float]:
    """Read a part of the data set, and the same of the file itself."""
    select = SLICES[what]
    home_s, expected = seconds(lambda: _at_home(what))
    took, found = seconds(lambda: select(_open["remote"]).values)
    if not np.array_equal(found, expected):
        raise ValueError(f"{what} is not what is in the file")
    return {"s": took, "home_s": home_s, "needed": found.nbytes}


def _at_home(what: str) -> np.ndarray:
    dataset = _open["home"]
    if what != "trajectory of 500 points":
        return SLICES[what](dataset).values
    # What xarray makes of it reads a box for all points together, element by element: minutes.
    where = zip(*(each.values for each in _trajectory(dataset).values()), strict=True)
    return np.array([dataset.u.variable[index].values for index in where])


if __name__ == "__main__":
    follow({measure.__name__: measure for measure in (round_trip, opening, selection)})
