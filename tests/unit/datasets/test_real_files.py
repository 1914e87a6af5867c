"""Files as scientists have them: what a reader gets of them is identical to what xarray opens."""

from __future__ import annotations

import os
import warnings
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from landbridge.datasets.sources import file_source
from landbridge.datasets.view import DatasetView
from landbridge.errors import NothingToServe
from unit.datasets.reader import read_back

IRIS = Path(str(files("iris_sample_data"))) / "sample_data"
XARRAY = Path(xr.__file__).parent / "tests" / "data"
NETCDF = [*sorted(IRIS.rglob("*.nc")), *sorted(XARRAY.glob("*.nc"))]


def assert_served(path: Path, **options) -> None:
    source = file_source("geomar/sst.data", path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the file holds
        found = read_back(source.current())
        with xr.open_dataset(path, **options) as expected:
            xr.testing.assert_identical(found, expected)
    source.close()


@pytest.mark.parametrize("path", NETCDF, ids=lambda path: path.name)
def test_a_sample_file_arrives_as_xarray_opens_it(path):
    assert_served(path)


def test_the_eraint_sample_arrives_as_xarray_opens_it():
    folder = os.environ.get("LANDBRIDGE_TEST_DATA")
    if not folder:
        pytest.skip("LANDBRIDGE_TEST_DATA does not name a folder with eraint_uvz.nc")
    assert_served(Path(folder) / "eraint_uvz.nc")


def field(dtype="f8") -> np.ndarray:
    return (np.random.default_rng(0).normal(280, 5, (50, 30, 40)) * 10).astype(dtype)


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {"t": (("time", "lat", "lon"), field(), {"units": "K"}), "scalar": 3.5},
        coords={
            "time": ("time", np.arange("2000", "2050", dtype="M8[Y]").astype("M8[ns]")),
            "lat": np.linspace(-10, 10, 30),
            "lon": np.arange(40),
            "mask": (("lat", "lon"), np.ones((30, 40), "i1")),
        },
        attrs={"title": "Temperature", "history": "made up"},
    )


@pytest.mark.parametrize("format", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4", "NETCDF4_CLASSIC"])
def test_every_format_of_netcdf_is_served(tmp_path, format):
    data = dataset()
    data["lon"] = data.lon.astype("i4")
    data.to_netcdf(tmp_path / "t.nc", format=format, unlimited_dims=["time"])
    assert_served(tmp_path / "t.nc")


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "scipy"])
def test_files_of_every_writer_are_served(tmp_path, engine):
    data = dataset()
    data["lon"] = data.lon.astype("i4")
    data.to_netcdf(tmp_path / "t.nc", engine=engine)
    assert_served(tmp_path / "t.nc")


def test_packed_integers_travel_packed(tmp_path):
    data = dataset()
    packing = {
        "dtype": "i2",
        "scale_factor": 0.1,
        "add_offset": 2000.0,
        "_FillValue": -32768,
        "chunksizes": (7, 30, 40),
    }
    data["t"][3, 4, 5] = np.nan
    data.to_netcdf(tmp_path / "t.nc", encoding={"t": packing})
    assert_served(tmp_path / "t.nc")
    view = file_source("geomar/sst.data", tmp_path / "t.nc").current()
    assert view.raw
    assert view.read("t", ["outer", [3, slice(None), 5]]).dtype == "i2"


def test_odd_dtypes_are_served(tmp_path):
    times = xr.date_range("0001-01-01", periods=50, freq="MS", calendar="360_day", use_cftime=True)
    odd = xr.Dataset(
        {
            "flag": ("time", np.arange(50) % 3 == 0),
            "lag": ("time", np.arange(50).astype("m8[h]").astype("m8[ns]")),
            "name": ("time", np.array([f"station {i} é" for i in range(50)], object)),
            "long_names": ("row", np.array([f"place {i}" for i in range(5000)], object)),
            "fixed": ("time", np.array([b"abc", b"d"] * 25, "S3")),
            "wide": (("time", "x"), np.arange(50_000, dtype="u8").reshape(50, 1000) + 2**60),
            "empty": (("none", "x"), np.empty((0, 1000))),
        },
        coords={"time": times},
    )
    odd.lag.encoding["dtype"] = "f8"
    odd.to_netcdf(tmp_path / "t.nc")
    assert_served(tmp_path / "t.nc")


def test_complex_numbers_are_served():
    z = (np.arange(60_000) * (1 + 2j)).reshape(60, 1000)
    view = DatasetView(xr.Dataset({"z": (("t", "x"), z)}), "1", raw=False)
    xr.testing.assert_identical(read_back(view), view.dataset)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_folders_are_served(tmp_path, version):
    data = dataset().chunk(time=7, lat=11, lon=40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.to_zarr(tmp_path / "t.zarr", zarr_format=version)
    assert_served(tmp_path / "t.zarr", engine="zarr")


def test_hdf5_that_xarray_opens_is_served(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["t"] = field("f4")
        file["small"] = np.arange(5)
    assert_served(tmp_path / "t.h5")


def test_a_file_that_is_not_what_it_seems_is_refused(tmp_path):
    (tmp_path / "t.nc").write_bytes(b"no such file format")
    with pytest.raises(NothingToServe) as caught:
        file_source("geomar/sst.data", tmp_path / "t.nc").current()
    assert "geomar/sst.data cannot be opened" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["air_temp.pp", "NAME_output.txt"])
def test_a_kind_of_file_that_is_not_known_is_refused_with_those_that_are(name):
    with pytest.raises(NothingToServe, match=r"\.nc, .*\.zarr, .*\.grib2, .*\.parquet"):
        file_source("geomar/sst.data", IRIS / name)
