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


# --- chunks -----------------------------------------------------------------------------------------------------------


def one_way(size: int, each: int) -> float:
    """Return how long float32 arrays of `each` bytes, `size` bytes in all, take to go one way: half of an echo."""
    echo = network().bench.work.echo
    array = np.random.default_rng(1).random(each // 4, dtype=np.float32)
    return seconds(lambda: [echo(array) for _ in range(size // each)])[0] / 2


def zarr_chunks(in_flight: int) -> float:
    """Read all chunks of a Zarr view, so many at a time; gives the time."""
    import zarr

    with zarr.config.set({"async.concurrency": in_flight}):
        array = zarr.open_group(lb.zarr_store("bench/data.chunked"), mode="r")["values"]
        took, values = seconds(lambda: array[:])
    if values.nbytes != array.size * 4:
        raise ValueError(f"{values.nbytes:,} bytes came")
    return took


def dask_mean(steps: int, in_chunk: int, threads: int, file: str) -> float:
    """Let dask fetch so many steps in chunks, and take their mean; gives the time."""
    import dask

    with lb.open("bench/field.data", chunks={"time": in_chunk}) as dataset, xr.open_dataset(file) as home:
        mean = dataset.u[:steps].mean("time")
        with dask.config.set(scheduler="threads", num_workers=threads):
            took, found = seconds(lambda: mean.values)
        np.testing.assert_allclose(found, home.u[:steps].mean("time").values, rtol=1e-4)
    return took


# --- references -------------------------------------------------------------------------------------------------------


def passed_on(size: int) -> dict[str, float]:
    """Keep an array at one institute and let a method of another reduce it; and fetch the same array here."""
    work, other = network().bench.work, network()["other/work"]
    with work.made.keep(size) as kept:
        get_s, value = seconds(kept.get)
        pass_s, total = seconds(lambda: other.total(kept))
    if total != float(value.sum()):
        raise ValueError(f"the sum is said to be {total}")
    return {"get_s": get_s, "pass_s": pass_s}


def only_passed_on(size: int) -> None:
    """Do the same, but do not fetch it."""
    with network().bench.work.made.keep(size) as kept:
        network()["other/work"].total(kept)


# --- values as they are sent ------------------------------------------------------------------------------------------


def fetched(name: str, repeat: int) -> dict[str, Any]:
    """Fetch a field, `repeat` times; gives the mean time, and what travelled of how much."""
    field = network()["bench/data"].field
    begin = time.perf_counter()
    for _ in range(repeat):
        call = field.start(name)
        value = call.result()
    took = (time.perf_counter() - begin) / repeat
    # A version that cannot compress saves nothing.
    return {"s": took, "bytes": value.nbytes, "saved": getattr(call, "bytes_saved", 0)}


def read(name: str, keepbits: int | None) -> dict[str, float]:
    """Read a field of a data set, exactly or with so many bits; gives the time, and how large it is."""
    with lb.open("bench/data.decoded", keepbits=keepbits) as dataset:
        took, values = seconds(lambda: dataset[name].values)
    return {"s": took, "bytes": values.nbytes}


def mixed_one_way(size: int) -> dict[str, float]:
    """Send a Dataset of 20 variables of many kinds, of about `size` bytes, there and back; gives half of the time."""
    rng = np.random.default_rng(1)
    n = size // 20 // 5
    kinds = [
        rng.random(n),
        rng.random(n, dtype=np.float32),
        rng.integers(0, 100, n, dtype=np.int16),
        rng.random(n) > 0.5,
        np.datetime64("2006-01-01", "ns") + rng.integers(0, 10**9, n).astype("m8[s]"),
    ]
    variables = {f"v{number}": ("x", kinds[number % 5].copy(), {"number": number}) for number in range(20)}
    dataset = xr.Dataset(variables, {"x": np.arange(n)}, {"title": "of many kinds"})
    took, back = seconds(lambda: network().bench.work.echo(dataset))
    xr.testing.assert_identical(back, dataset)
    return {"s": took / 2, "bytes": dataset.nbytes}


if __name__ == "__main__":
    measures = (
        round_trip, opening, selection, one_way, zarr_chunks, dask_mean, passed_on, only_passed_on, fetched, read,
        mixed_one_way,
    )  # fmt: skip
    follow({measure.__name__: measure for measure in measures})
