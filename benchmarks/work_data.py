"""Data sets that the benchmarks read, from memory, so that no file is measured."""

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
