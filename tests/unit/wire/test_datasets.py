"""DataArrays and Datasets arrive identical, with coordinates, indexes, attributes and plain encoding."""

from __future__ import annotations

import cftime
import msgpack
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from landbridge.errors import CannotTravel, Malformed
from landbridge.wire import decode, encode

TIMES = np.arange("2006-01", "2006-07", dtype="M8[M]").astype("M8[ns]")


def there_and_back(value):
    return decode(bytearray(b"".join(encode(value))))


def sst() -> xr.DataArray:
    return xr.DataArray(
        np.arange(6 * 4 * 5, dtype="f4").reshape(6, 4, 5),
        dims=("time", "lat", "lon"),
        coords={
            "time": ("time", TIMES, {"axis": "T"}),
            "lat": ("lat", np.linspace(-5, 5, 4), {"units": "degrees_north"}),
            "lon": np.arange(5),
            "month": ("time", np.arange(1, 7)),
            "area": (("lat", "lon"), np.ones((4, 5))),
            "depth": 0.5,
            "name": ("lon", np.array(["a", "b", "c", "d", "e"], dtype=object)),
        },
        name="sst",
        attrs={"units": "K", "valid_range": np.array([270.0, 310.0]), "flags": [1, 2], "scale": np.float32(0.1)},
    )


def stations() -> xr.Dataset:
    return xr.Dataset(
        {"t": ("station", np.array([1.5, 2.5]))},
        coords={"station": ["Kiel", "Potsdam"], "id": ("station", [7, 8])},
    )


DATASETS = {
    "empty": xr.Dataset(),
    "scalar": xr.Dataset({"a": 1}),
    "attributes": xr.Dataset(attrs={"title": "x", "nested": {"a": [1, (2,)]}}),
    "sst": sst().to_dataset(),
    "two variables": xr.Dataset({"a": ("x", [1, 2]), "b": (("x", "y"), np.zeros((2, 3), "i2"))}),
    "no index": xr.Dataset({"a": ("x", [1, 2])}, coords=xr.Coordinates({"x": ("x", [3, 4])}, indexes={})),
    "stations": stations(),
    "index beside its dimension": stations().set_xindex("id"),
    "names that are no text": xr.Dataset({0: ("x", [1]), ("a", 1): ("x", [2])}, coords={"x": [1]}),
    "dates before Pandas": xr.Dataset(
        {"a": ("time", [1, 2])}, {"time": np.array(["0001-01-01", "9000-01-01"], "M8[s]")}
    ),
    "timedelta": xr.Dataset(coords={"lead": np.arange(3).astype("m8[ns]")}),
    "complex and structured": xr.Dataset(
        {"c": ("x", np.array([1j, 2])), "s": ("x", np.zeros(2, [("a", "i4"), ("b", "f8")]))}
    ),
    "big-endian": xr.Dataset({"a": ("x", np.arange(3, dtype=">f4"))}),
    "descending": xr.Dataset({"a": ("x", np.arange(300.0))}, {"x": np.arange(300)[::-1]}),
    "repeated labels": xr.Dataset({"a": ("x", [1, 2])}, {"x": [5, 5]}),
    "boolean": xr.Dataset({"mask": ("x", [True, False])}),
    "360 days": xr.Dataset(
        {"a": ("time", [1, 2])},
        {"time": [cftime.Datetime360Day(1, 2, 30), cftime.Datetime360Day(1, 3, 1, 12, 30, 1, 5)]},
    ),
}


@pytest.mark.parametrize("name", DATASETS)
def test_dataset_arrives_identical(name):
    value = DATASETS[name]
    back = there_and_back(value)
    assert type(back) is xr.Dataset
    xr.testing.assert_identical(back, value)
    assert list(back.variables) == list(value.variables) or set(back.variables) == set(value.variables)
    assert {key: type(index) for key, index in back.xindexes.items()} == {
        key: type(index) for key, index in value.xindexes.items()
    }
    for key, variable in value.variables.items():
        assert back.variables[key].dtype == variable.dtype
        assert type(back.variables[key]) is type(variable)


def test_data_array_arrives_identical():
    value = sst()
    back = there_and_back(value)
    xr.testing.assert_identical(back, value)
    assert list(back.coords) == list(value.coords)
    assert {key: type(kind) for key, kind in back.attrs.items()} == {
        key: type(kind) for key, kind in value.attrs.items()
    }
    assert back.sel(lat=-5, time="2006-03").shape == (1, 5)
    back.values[0] = 0


@pytest.mark.parametrize("name", [None, 5, ("a", 1), "sst"])
def test_name_of_a_data_array_is_kept(name):
    assert there_and_back(xr.DataArray([1.0], dims="x", name=name)).name == name


def test_data_are_not_copied():
    frame = bytearray(b"".join(encode(sst().isel(time=[0] * 50))))
    assert np.shares_memory(decode(frame).values, np.frombuffer(frame, "u1"))


def test_plain_encoding_travels_and_the_rest_stays():
    value = sst().to_dataset()
    value.encoding = {"source": "sst.nc", "unlimited_dims": {"time"}, "handle": open}
    value.sst.encoding = {
        "dtype": np.dtype("i2"), "scale_factor": 0.01, "_FillValue": np.int16(-1), "chunksizes": (1, 4, 5),
        "compressor": object(), "wanted": str,
    }  # fmt: skip
    value.time.encoding = {"units": "days since 2000-01-01", "calendar": "standard"}
    back = there_and_back(value)
    # The path of the file, which stays at home, and the open file do not travel.
    assert back.encoding == {"unlimited_dims": {"time"}}
    assert back.sst.encoding == {
        "dtype": np.dtype("i2"), "scale_factor": 0.01, "_FillValue": np.int16(-1), "chunksizes": (1, 4, 5),
    }  # fmt: skip
    assert type(back.sst.encoding["_FillValue"]) is np.int16
    assert back.time.encoding == {"units": "days since 2000-01-01", "calendar": "standard"}


def test_lazy_data_are_loaded(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("x", 300)
        file.createVariable("a", "f4", ("x",))[:] = np.arange(300)
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as value:
        back = there_and_back(value)
        xr.testing.assert_identical(back, value)


def test_several_levels_over_one_dimension_arrive_with_what_their_coordinates_say():
    value = sst().to_dataset().drop_vars(["month", "area", "depth", "name"]).stack(z=("lat", "lon"))
    back = there_and_back(value)
    xr.testing.assert_identical(back, value)
    assert back.lat.attrs == {"units": "degrees_north"}
    assert back.sel(lat=-5, lon=2).sst.shape == (6,)


@pytest.mark.parametrize(
    ("drop", "said"),
    [(0, "coordinates of an index"), (1, "no values"), (2, "dtype"), (3, "dimensions")],
    ids=["coordinate", "index", "dtype", "dimension"],
)
def test_index_that_does_not_fit_its_coordinates_is_malformed(drop, said):
    level = pd.MultiIndex.from_product([[1, 2], ["a"]], names=["n", "s"])
    variables = [[name, ["z"], None, {}, {}] for name in ("z", "n", "s")]
    entry = ["z", level, [np.dtype("i8"), np.dtype("O")]]
    payload = [variables, ["z", "n", "s"], [entry], {}, {}]
    frame = tagged("xr.ds", payload)
    assert list(decode(frame).xindexes) == ["z", "n", "s"]
    if drop == 0:
        del variables[0], payload[1][0]
    elif drop == 1:
        payload[2] = []
    elif drop == 2:
        entry[2][0] = np.dtype("M8[s]")
        entry[1] = pd.MultiIndex.from_product([["x", "y"], ["a"]], names=["n", "s"])
    else:
        variables[0][1] = ["z", "y"]
    with pytest.raises(Malformed, match=said if drop != 2 else None):
        decode(tagged("xr.ds", payload))


def tagged(tag, payload) -> bytes:
    """Return a frame with a payload made by hand, of values that all stay in its header."""
    header = b"".join(encode(payload))[12:]
    inner = msgpack.packb(tag)
    packed = msgpack.packb(msgpack.ExtType(1, b"\x92" + inner + header))
    return b"LB\x01\x00" + len(packed).to_bytes(4, "little") + bytes(4) + packed


@pytest.mark.parametrize(
    "entry", [["time", "W-SUN"], ["time", "x" * 50], ["time", 5], ["time"], ["n", "D"], ["?", "D"]]
)
def test_frequency_that_does_not_fit_is_malformed(entry):
    variables = [["time", ["time"], np.array(["2024-01-01", "2024-01-02"], "M8[s]"), {}, {}],
                 ["n", ["n"], np.array([1, 2]), {}, {}]]  # fmt: skip
    payload = [variables, ["time", "n"], [["time", "D"], "n"], {}, {}]
    assert decode(tagged("xr.ds", payload)).indexes["time"].freqstr == "D"
    payload[2] = [entry]
    with pytest.raises(Malformed):
        decode(tagged("xr.ds", payload))


def test_times_at_a_frequency_travel_as_plain_times_and_its_name():
    value = xr.Dataset(coords={"time": pd.date_range("2024", periods=3, freq="MS")})
    (whole,) = encode(value)
    assert b"pd." not in whole
    assert b"MS" in whole


@pytest.mark.parametrize("path", ["", "/", "a//b", "../a", "a/./b", "/".join("a" * 40)])
def test_odd_path_in_a_tree_is_malformed(path):
    with pytest.raises(Malformed):
        decode(tagged("xr.tree", [None, [[".", xr.Dataset()], [path, xr.Dataset()]]]))


def test_part_of_a_tree_arrives_with_what_it_inherited():
    tree = xr.DataTree.from_dict({"/": xr.Dataset(coords={"x": [1, 2]}), "/a/b": xr.Dataset({"v": ("x", [3, 4])})})
    back = there_and_back(tree["a"])
    assert back.parent is None
    xr.testing.assert_identical(back, tree["a"].copy())


def test_one_dimension_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        value = xr.Dataset({"a": (("x", "x"), np.zeros((2, 2)))})
    with pytest.raises(CannotTravel, match="twice"):
        encode(value)


def test_missing_text_in_objects_arrives():
    # Without fastpath xarray itself would turn None into nan.
    value = xr.Dataset({"a": xr.Variable("x", np.array(["a", None], dtype=object), fastpath=True)})
    assert there_and_back(value).a.values.tolist() == ["a", None]


@pytest.mark.parametrize(
    "date",
    [
        cftime.DatetimeNoLeap(2001, 2, 28),
        cftime.Datetime360Day(2001, 2, 30, 23, 59, 59, 999999),
        cftime.DatetimeGregorian(1500, 1, 1),
        cftime.DatetimeProlepticGregorian(0, 1, 1, has_year_zero=True),
        cftime.datetime(2001, 2, 3, calendar="julian"),
    ],
    ids=["noleap", "360", "gregorian", "year zero", "plain"],
)
def test_date_of_another_calendar_keeps_type_and_calendar(date):
    for back in (there_and_back(date), there_and_back(np.array([date, date], dtype=object))[1]):
        assert type(back) is type(date)
        assert (back.calendar, back.has_year_zero) == (date.calendar, date.has_year_zero)
        assert back == date
        assert back.microsecond == date.microsecond


def test_dates_of_two_calendars_in_one_array_arrive():
    dates = np.array([cftime.DatetimeNoLeap(1, 1, 1), cftime.Datetime360Day(1, 2, 30)], dtype=object)
    assert list(map(type, there_and_back(dates))) == list(map(type, dates))
