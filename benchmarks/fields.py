"""A field as models write them, made for the benchmarks of data sets: one time step in each chunk of a NetCDF4 file."""

from __future__ import annotations

from pathlib import Path

MAP = (121, 240)
"""Latitudes and longitudes: 116 KB of float32."""
STEPS = 1460
"""A year, every six hours: 170 MB for each of the two variables."""


def write(file: Path, steps: int) -> Path:
    """Write so many steps of two variables, of numbers that cannot be compressed; returns the file."""
    import numpy as np
    import xarray as xr

    rng = np.random.default_rng(1)
    dims = ("time", "lat", "lon")
    dataset = xr.Dataset(
        {name: (dims, rng.random((steps, *MAP), dtype=np.float32), {"units": "m s-1"}) for name in ("u", "v")},
        coords={
            "time": ("time", np.arange(steps) * 6.0, {"units": "hours since 2006-01-01"}),
            "lat": np.linspace(90.0, -90.0, MAP[0]),
            "lon": np.arange(MAP[1]) * 1.5,
        },
    )
    dataset.to_netcdf(file, encoding={name: {"chunksizes": (1, *MAP)} for name in ("u", "v")})
    return file
