"""Chains to evaluate, a data set to evaluate them on, and how both sides are compared."""

import functools

import iris_sample_data
import numpy as np
import xarray as xr

from landbridge.datasets.chain import Chain
from landbridge.datasets.operations import evaluate
from landbridge.datasets.vocabulary import BINARY, UNARY


def nothing():
    """Stand for a caller who waits."""


def run(dataset, *steps, limit_bytes=10**9, check=nothing):
    """Evaluate steps."""
    return evaluate(dataset, list(steps), limit_bytes=limit_bytes, check=check)


def recorder(dataset, **options):
    """Return a chain that is evaluated on `dataset`, with the options of `run`."""
    return Chain(lambda steps: run(dataset, *steps, **options), ("data",), "far", tuple(map(str, dataset.variables)))


def close(found, expected):
    """Require the same up to the order in which chunks are added."""
    assert type(found) is type(expected)
    xr.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert found.attrs == expected.attrs
    if isinstance(found, xr.DataArray):
        assert (found.name, found.dtype) == (expected.name, expected.dtype)


@functools.cache
def measured():
    """Return monthly sea surface temperatures, 54 months x 18 latitudes x 120 longitudes.

    As float64, in which sums are the same to nine digits in any order.
    """
    with xr.open_dataset(f"{iris_sample_data.path}/ostia_monthly.nc") as dataset:
        part = dataset.rename(surface_temperature="sst", latitude="lat", longitude="lon")
        part = part[["sst", "time_bnds"]].isel(lon=slice(0, 120)).load()
    return part.assign(sst=part.sst.astype("float64"), cell=np.cos(np.deg2rad(part.lat.astype("float64"))))


def each(names, work):
    """Return an example for each name of a method."""
    return [functools.partial(work, name) for name in names]


def way(*values):
    """Return coordinates of points."""
    return xr.DataArray(list(values), dims="way")


SPREAD = ("mean", "sum", "min", "max", "std", "var", "median", "count", "prod")
WEIGHTED = ("mean", "sum", "std", "var", "sum_of_squares", "sum_of_weights")
ALL = (*SPREAD, "any", "all")

EXAMPLES = [
    # Parts
    lambda d: d,
    lambda d: d.sst,
    lambda d: d["sst"],
    lambda d: d[["sst", "cell"]],
    lambda d: d.sst.lat,
    lambda d: d.sst["time.month"],
    lambda d: d.time.dt.dayofyear,
    lambda d: d.sst.sel(lat=slice(-5, -3), lon=[0.0, 30.0, 45.0]),
    lambda d: d.sst.sel({"lat": -4.1}, method="nearest"),
    lambda d: d.sst.sel(lat=-4.1, method="nearest", tolerance=1.0, drop=True),
    lambda d: d.sst.sel(time="2007"),
    lambda d: d.sst.sel(time=slice("2007-03", "2008-02")),
    lambda d: d.sst.sel(lat=way(-4.0, -5.0), lon=way(3.0, 9.0), method="nearest"),
    lambda d: d.sst.isel(time=0),
    lambda d: d.sst.isel(time=slice(None, None, -5), lat=[3, 1]),
    lambda d: d.sst.isel(lat=np.array([True, False, False] * 6)),
    lambda d: d.isel(time=-1).squeeze(),
    lambda d: d.sst.isel(time=[0]).squeeze("time", drop=True),
    lambda d: d.sst.transpose("lon", "lat", "time"),
    lambda d: d.sst.transpose("lon", ...),
    lambda d: d.drop_vars("cell"),
    lambda d: d.drop_vars(["cell", "nowhere"], errors="ignore").mean("time"),
    lambda d: d.rename(sst="warmth"),
    lambda d: d.sst.rename("warmth"),
    lambda d: d.sst.assign_coords(lon=(d.lon + 180) % 360 - 180).sortby("lon"),
    lambda d: d.sst.assign_coords(lon=np.arange(120.0), where="here"),
    # Element by element
    lambda d: d.sst.where(d.sst > 300),
    lambda d: d.sst.where(d.sst > 300, 0.0),
    lambda d: d.sst.where(d.sst > 302, drop=True),
    lambda d: d.where(d.lat < -3),
    lambda d: d.sst.fillna(0),
    lambda d: d.sst.fillna(d.sst.mean("time")),
    lambda d: d.sst.clip(290, 300),
    lambda d: d.sst.clip(max=d.sst.mean(["lat", "lon"])),
    lambda d: d.sst.isin([300.0, 301.0]),
    lambda d: d.sst.isnull().sum("time"),
    lambda d: d.sst.notnull().any(),
    lambda d: d.sst.astype("float32"),
    lambda d: d.sst.fillna(0).astype(np.int16),
    lambda d: d.sst.round(),
    lambda d: d.sst.round(2),
    # Along a dimension
    lambda d: d.sst.diff("time"),
    lambda d: d.sst.diff("lon", 2, label="lower"),
    lambda d: d.sst.shift(time=3),
    lambda d: d.sst.shift(time=-1, fill_value=0.0),
    lambda d: d.sst.roll(lon=60),
    lambda d: d.sst.roll(lon=60, roll_coords=True),
    lambda d: d.sst.cumsum("time"),
    lambda d: (d.sst / 300).cumprod("time"),
    lambda d: d.sst.differentiate("lat"),
    lambda d: d.sst.differentiate("time", datetime_unit="D"),
    lambda d: d.sst.integrate("lon"),
    lambda d: d.sst.integrate(["lon", "lat"]),
    lambda d: d.sst.integrate("time", "D"),
    lambda d: d.sst.interp(lat=[-4.0, -3.5]),
    lambda d: d.sst.interp(time=np.datetime64("2008-01-01"), method="nearest"),
    lambda d: d.sst.interp(lat=way(-4.0, -3.5), lon=way(3.0, 9.0)),
    lambda d: d.sst.sortby("lon", ascending=False),
    lambda d: d.sst.sortby(["time", "lat"]),
    # To less
    *each(ALL, lambda name, d: getattr(d.sst, name)("time")),
    *each(("mean", "std", "any"), lambda name, d: getattr(d.sst, name)(dim=["lat", "lon"], keep_attrs=True)),
    *each(("mean", "sum", "min", "max", "std", "median", "argmax"), lambda name, d: getattr(d.sst, name)()),
    lambda d: d.sst.mean(...),
    lambda d: d.mean("time"),
    lambda d: d.sst.mean("time", skipna=False),
    lambda d: d.sst.sum("time", min_count=60),
    lambda d: d.sst.var("time", ddof=1),
    lambda d: d.sst.quantile(0.5, "time"),
    lambda d: d.sst.quantile([0.1, 0.9], ["time", "lat"]),
    lambda d: d.sst.quantile(0.3, method="lower"),
    lambda d: d.sst.where(d.sst > 273.15).quantile([0.1, 0.9], "time"),
    lambda d: d.sst.fillna(0).argmax("time"),
    lambda d: d.sst.fillna(0).argmin("lon"),
    lambda d: d.sst.fillna(0).idxmax("time"),
    lambda d: d.sst.fillna(0).idxmin("lon"),
    lambda d: d.sst.dot(d.cell),
    lambda d: d.sst.fillna(0).dot(d.sst.fillna(0), dim="time"),
    lambda d: d.sst.fillna(0).dot(d.cell, dim=...),
    # In groups and windows
    *each(ALL, lambda name, d: getattr(d.sst.groupby("time.month"), name)("time")),
    lambda d: d.sst.groupby("time.season").mean(),
    lambda d: d.sst.groupby("time.year").first(),
    lambda d: d.sst.groupby("time.year").last(skipna=False),
    lambda d: d.sst.groupby("time.year").quantile([0.1, 0.5], "time"),
    lambda d: d.groupby("time.month").mean("time"),
    lambda d: d.sst.groupby("time.month") - d.sst.groupby("time.month").mean("time"),
    lambda d: d.sst.groupby("lat").mean(...),
    *each(ALL, lambda name, d: getattr(d.sst.resample(time="QS-DEC"), name)("time")),
    lambda d: d.sst.resample(time="100D", closed="right", label="right").mean(),
    lambda d: d.sst.resample(time="YS").first(),
    lambda d: d.sst.resample(time="YE").last(),
    lambda d: d.sst.resample(time="2YS").quantile(0.5),
    *each(SPREAD, lambda name, d: getattr(d.sst.coarsen(time=12, lon=8, boundary="trim"), name)()),
    lambda d: d.sst.coarsen(time=7, boundary="pad", side="right").mean(),
    *each(SPREAD, lambda name, d: getattr(d.sst.rolling(time=5, center=True), name)()),
    lambda d: d.sst.rolling(time=3, lon=4, min_periods=2).mean(),
    *each(WEIGHTED, lambda name, d: getattr(d.sst.weighted(d.cell), name)(["lat", "lon"])),
    lambda d: d.sst.weighted(d.cell).mean(),
    lambda d: d.sst.isel(time=slice(4)).weighted(d.cell).quantile([0.2, 0.5], dim="lat"),
    lambda d: d.sst.weighted(xr.DataArray(np.arange(18.0), dims="lat")).mean("lat"),
    # Operators and functions
    lambda d: (d.sst - d.sst.mean("time")) / d.sst.std("time"),
    lambda d: 2 * d.sst + d.sst * 0.5 - 273.15,
    lambda d: -(d.sst // 7) % 3,
    lambda d: 1 / d.sst**2,
    lambda d: 2 ** (d.cell),
    lambda d: ((d.sst >= 300) & (d.sst < 301) | ~(d.sst != 299) ^ (d.sst == 300)).sum("time"),
    lambda d: ((d.sst <= 300) == (d.sst < 300)).all(),
    lambda d: abs(d.sst - 300),
    lambda d: d.time > np.datetime64("2008-01-01"),
    lambda d: d.time - np.datetime64("2008-01-01"),
    lambda d: d.drop_vars("time_bnds") + 1,
    lambda d: np.float64(3) * d.sst,
    lambda d: d.sst * np.arange(120.0),
    lambda d: d.sst - xr.DataArray(np.arange(18.0), dims="lat"),
    lambda d: np.cos(np.deg2rad(d.lat)) * np.radians(d.lon),
    lambda d: np.sqrt(abs(d.cell)) + np.exp(d.cell) + np.sign(d.cell) + np.isfinite(d.cell),
    *each([name for name in UNARY if name[0].isalpha()], lambda name, d: getattr(np, name)(d.cell)),
    *each([name for name in BINARY if name[0].isalpha()], lambda name, d: getattr(np, name)(d.sst, d.cell * 300)),
]  # fmt: skip
