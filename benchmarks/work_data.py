"""Data that the benchmarks read, from memory, so that no file is measured."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr

import landbridge as lb

CHUNKS = 64
CHUNK_BYTES = 960 * 1024
"""The most that the Zarr view of a data set puts into a chunk."""


@lb.dataset
def chunked() -> xr.Dataset:
    """One variable whose Zarr view has 64 chunks of nearly 1 MB."""
    shape = (CHUNKS, CHUNK_BYTES // 4)
    return xr.Dataset({"values": (("chunk", "x"), np.random.default_rng(1).random(shape, dtype=np.float32))})


@lb.dataset
def decoded() -> xr.Dataset:
    """Real fields as floats, those that are there."""
    fields = {"OSTIA SST": ("ostia_monthly.nc", "surface_temperature")}
    found = {name: _decoded(_samples() / file, variable) for name, (file, variable) in fields.items()}
    if "LANDBRIDGE_TEST_DATA" in os.environ:
        found["ERA-Interim u"] = _decoded(Path(os.environ["LANDBRIDGE_TEST_DATA"]) / "eraint_uvz.nc", "u")
    return xr.Dataset({name: ([f"{name} {axis}" for axis in range(each.ndim)], each) for name, each in found.items()})


def _decoded(file: Path, name: str) -> np.ndarray:
    with xr.open_dataset(file) as dataset:
        return dataset[name].values.astype("f4")


@lb.method
def field(name: str) -> np.ndarray:
    """Return a field as it is in its file: ``OSTIA SST``, ``NEMO SST``, ``ERA-Interim u``, or ``noise``.

    The third is there if the environment names in ``LANDBRIDGE_TEST_DATA`` the folder of ``eraint_uvz.nc``.
    """
    return _field(name)


@cache
def _field(name: str) -> np.ndarray:
    if name == "noise":
        return np.random.default_rng(1).integers(0, 2**32, 2**19, dtype=np.uint32)
    if name == "ERA-Interim u":
        return _variable(Path(os.environ["LANDBRIDGE_TEST_DATA"]) / "eraint_uvz.nc", "u")
    if name == "OSTIA SST":
        return _variable(_samples() / "ostia_monthly.nc", "surface_temperature")
    return np.concatenate([_variable(file, "tos") for file in sorted((_samples() / "NEMO").glob("*.nc"))])


def _samples() -> Path:
    import iris_sample_data

    return Path(iris_sample_data.path)


def _variable(file: Path, name: str) -> np.ndarray:
    with xr.open_dataset(file, decode_cf=False) as dataset:
        return dataset[name].values
