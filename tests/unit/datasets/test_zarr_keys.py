"""What the owner of a data set answers to keys of Zarr: xarray reads the store as it reads the file itself."""

import asyncio
import json
import math
from pathlib import Path

import cftime
import hypothesis.extra.numpy as hnp
import iris_sample_data
import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.datasets.zarrkeys import ZarrKeys
from landbridge.datasets.zarrstore import ZarrStore
from landbridge.datasets.zarrtypes import CHUNK_BYTES, chunk_shape


def keys_of(dataset, chunks=lambda name: None):
    def read(name, selection):
        variable = dataset[name].variable
        assert len(selection) == variable.ndim
        for part, length in zip(selection, variable.shape, strict=True):
            assert part.step is None
            assert 0 <= (part.start or 0) <= part.stop <= length
        return variable[selection].values

    return ZarrKeys(dataset, read, chunks)


def store_of(keys):
    async def get(wanted):
        await asyncio.sleep(0)
        return [keys.get(*one) for one in wanted]

    return ZarrStore(get, "test/data")


def reopened(dataset, chunks=lambda name: None, **options):
    """Return what a caller's xarray decodes of `dataset`, served undecoded or decoded, through a real store."""
    store = store_of(keys_of(dataset, chunks))
    return xr.open_zarr(store, consolidated=True, chunks=None, **options).load()


def served_file(path, **options):
    with xr.open_dataset(path, decode_cf=False) as raw:
        return reopened(raw, lambda name: raw[name].encoding.get("preferred_chunks"), **options)


def metadata(keys, name):
    return json.loads(keys.get(f"{name}/zarr.json"))


# --- files --------------------------------------------------------------------------------------------------------


def field():
    time = xr.date_range("2006-01-01", periods=5, freq="MS")
    return xr.Dataset(
        {
            "sst": (("time", "lat", "lon"), np.arange(60, dtype="f4").reshape(5, 3, 4), {"units": "K"}),
            "mask": (("lat", "lon"), np.eye(3, 4, dtype=bool)),
            "count": ((), np.int32(7)),
        },
        coords={"time": time, "lat": [1.0, 2.0, 3.0], "lon": [0.5, 1.5, 2.5, 3.5], "height": 2.0},
        attrs={"title": "a test"},
    )


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
def test_netcdf_files_are_read_as_the_local_file(tmp_path, kind):
    path = tmp_path / "field.nc"
    field().to_netcdf(path, format=kind)
    with xr.open_dataset(path) as local:
        xr.testing.assert_identical(served_file(path), local)
        assert "height" in local.coords


@pytest.mark.parametrize("scale", [np.float64(0.01), np.float32(0.01), np.int16(2)])
def test_packed_numbers_decode_exactly_whatever_the_type_of_their_scale(tmp_path, scale):
    path = tmp_path / "packed.nc"
    raw = np.array([[-32768, 0, 1], [5, 32767, -7]], "i2")
    attrs = {"scale_factor": scale, "add_offset": type(scale)(20), "_FillValue": np.int16(-32768)}
    xr.Dataset({"t": (("y", "x"), raw, attrs)}).to_netcdf(path)
    with xr.open_dataset(path) as local:
        ours = served_file(path)
        xr.testing.assert_identical(ours, local)
        assert ours["t"].dtype == local["t"].dtype


def test_a_mark_of_another_type_than_the_data_marks_what_it_marks_locally():
    values = np.array([1, 1e20, np.nan], "f4")
    marks = {"same": np.float32(1e20), "wider": np.float64(1e20), "nan": np.float32("nan"), "text": "none"}
    raw = xr.Dataset({name: ("x", values, {"missing_value": mark}) for name, mark in marks.items()})
    local = xr.decode_cf(raw)
    xr.testing.assert_identical(reopened(raw), local)
    assert np.isnan(local["same"][1])
    assert not np.isnan(local["wider"][1])


def test_climate_calendars_stay_what_they_are(tmp_path):
    path = tmp_path / "calendar.nc"
    times = xr.date_range("2000-02-28", periods=4, calendar="360_day", use_cftime=True)
    xr.Dataset({"tas": ("time", np.arange(4.0))}, {"time": times}).to_netcdf(path)
    with xr.open_dataset(path) as local:
        xr.testing.assert_identical(served_file(path), local)
        assert isinstance(local["time"].values[2], cftime.Datetime360Day)


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF4"])
def test_characters_in_files_become_the_same_strings(tmp_path, kind):
    path = tmp_path / "stations.nc"
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.createDimension("station", 3)
        file.createDimension("length", 4)
        characters = netCDF4.stringtochar(np.array([b"ab", b"", b"abcd"], "S4"))
        file.createVariable("code", "S1", ("station", "length"))[:] = characters
        named = file.createVariable("name", "S1", ("station", "length"))
        named[:] = characters
        named._Encoding = "utf-8"
        file.createVariable("letter", "S1", ())[...] = b"x"
    with xr.open_dataset(path) as local:
        ours = served_file(path)
        xr.testing.assert_identical(ours, local)
        assert ours["code"].values.tolist() == [b"ab", b"", b"abcd"]
        assert ours["name"].values.tolist() == ["ab", "", "abcd"]


def test_strings_in_files_keep_their_missing_values(tmp_path):
    path = tmp_path / "strings.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 3)
        file.createVariable("plain", str, ("x",))[:] = np.array(["ab", "", "ä€"], object)
        file.createVariable("gaps", str, ("x",), fill_value="n/a")[:] = np.array(["ab", "n/a", ""], object)
    with xr.open_dataset(path) as local:
        ours = served_file(path)
        xr.testing.assert_identical(ours, local)
        assert ours["gaps"].isnull().values.tolist() == [False, True, False]


@pytest.mark.parametrize("path", sorted(Path(iris_sample_data.path).rglob("*.nc")), ids=lambda path: path.name)
def test_real_files_are_read_as_the_local_file(path):
    with xr.open_dataset(path) as local:
        ours = served_file(path)
        xr.testing.assert_identical(ours, local)
        assert "landbridge:left_out" not in ours.attrs


# --- data sets in memory ------------------------------------------------------------------------------------------


def test_decoded_data_in_memory_arrive_as_they_are():
    dataset = field()
    dataset["reached"] = "time", np.array(["2006-01-01T00:00:00.000000001", "NaT", "1999", "1999", "2262"], "M8[ns]")
    dataset["coarse"] = "time", np.array(["2006-01-01", "NaT", "1999", "1999", "2250"], "M8[us]")
    dataset["lasted"] = "time", np.array([1, "NaT", 3, -4, 2**60], "m8[ns]")
    dataset["named"] = "lat", np.array(["ab", None, ""], object)
    dataset["code"] = "lat", np.array([b"a\x00b", b"", b"\xff"], object)
    dataset["wave"] = "lat", np.array([1 + 2j, complex(np.nan, 0), -1j], "c8")
    dataset["wide"] = "lat", np.array([2**63 - 1, -(2**63), 0], "i8")
    dataset["half"] = "lat", np.array([1, np.inf, np.nan], "f2")
    dataset = dataset.assign_coords(label=("lat", ["x", "yy", "zzz"]), lone=("other", [1, 2]))
    ours = reopened(dataset)
    xr.testing.assert_identical(ours, dataset)
    assert ours["lasted"].dtype == "m8[ns]"
    assert ours["half"].dtype == "f2"


def test_dates_of_other_calendars_in_memory_arrive_exactly():
    dates = [cftime.Datetime360Day(2000, 2, 30, 1, 2, 3, 456789), cftime.Datetime360Day(-400, 1, 1)]
    dataset = xr.Dataset({"when": ("x", np.array(dates, object)), "once": ((), dates[0])})
    xr.testing.assert_identical(reopened(dataset), dataset)


def test_irregular_dask_chunks_are_served_on_a_regular_grid():
    values = np.arange(7 * 5.0).reshape(7, 5)
    dataset = xr.Dataset({"v": (("x", "y"), values)}).chunk({"x": (1, 4, 2), "y": (2, 3)})
    keys = keys_of(dataset, lambda name: {"x": 4, "y": 3})
    ours = xr.open_zarr(store_of(keys), consolidated=True, chunks=None).load()
    xr.testing.assert_identical(ours, dataset.compute())


def test_arrays_without_elements_are_served():
    dataset = xr.Dataset({"none": (("x", "y"), np.zeros((0, 3), "f4")), "texts": ("x", np.array([], object))})
    xr.testing.assert_identical(reopened(dataset), dataset)
    assert keys_of(dataset).get("none/c/0/0") is None


def test_big_endian_numbers_are_stored_in_little_endian():
    dataset = xr.Dataset({"v": ("x", np.array([1, 2, 3], ">i4"))})
    assert keys_of(dataset).get("v/c/0") == np.array([1, 2, 3], "<i4").tobytes()


def test_times_of_all_chunks_have_one_encoding():
    times = np.arange("2000-01-01", "2000-01-05", dtype="M8[D]").astype("M8[ns]")
    keys = keys_of(xr.Dataset({"when": (("x", "y"), np.tile(times, (40_000, 1)))}))
    document = metadata(keys, "when")
    assert document["attributes"]["units"] == "nanoseconds since 1970-01-01"
    first, last = keys.get("when/c/0/0"), keys.get("when/c/1/0")
    expected = times.astype("M8[ns]").astype("<i8").tobytes()
    assert first[:32] == last[:32] == expected


def test_what_zarr_can_not_hold_is_left_out_by_name():
    dataset = xr.Dataset(
        {
            "good": ("x", [1.0, 2.0]),
            "a/b": ("x", [1.0, 2.0]),
            "..": ("x", [1.0, 2.0]),
            "__x": ("x", [1.0, 2.0]),
            3: ("x", [1.0, 2.0]),
            "mixed": ("x", np.array(["a", 1], object)),
            "record": ("x", np.zeros(2, [("a", "i4"), ("b", "f8")])),
            "gaps": ("x", np.array([cftime.Datetime360Day(2000, 1, 1), None], object)),
            "wide": ("x", np.zeros(2, "g")),
            "timed": ("x", np.zeros(2, "M8[ns]"), {"units": "furlongs"}),
        }
    )
    ours = reopened(dataset)
    assert set(ours.variables) == {"good"}
    assert set(ours.attrs["landbridge:left_out"]) == set(map(str, dataset.variables)) - {"good"}


# --- metadata -----------------------------------------------------------------------------------------------------


def test_attributes_are_json_that_every_language_reads():
    attrs = {
        "n": np.int16(3),
        "range": np.array([1.5, np.inf], "f4"),
        "bad": float("nan"),
        "raw": b"abc",
        "list": [np.float32(0.5), "x"],
        "when": np.datetime64("2000-01-01"),
    }
    keys = keys_of(xr.Dataset({"v": ("x", [1.0], attrs)}, attrs=attrs))

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    root = json.loads(keys.get("zarr.json"), parse_constant=refuse)
    expected = {
        "n": 3,
        "range": [1.5, "Infinity"],
        "bad": "NaN",
        "raw": "abc",
        "list": [0.5, "x"],
        "when": "2000-01-01",
    }
    assert root["attributes"] == expected
    assert root["consolidated_metadata"]["metadata"]["v"]["attributes"] == expected


def test_a_fill_value_of_nan_on_integers_is_dropped():
    dataset = xr.Dataset({"v": ("x", np.array([1, 2], "i2"), {"_FillValue": np.nan})})
    assert metadata(keys_of(dataset), "v")["attributes"] == {}
    assert reopened(dataset)["v"].values.tolist() == [1, 2]


def test_fill_values_are_those_that_xarray_and_others_read():
    dataset = xr.Dataset(
        {
            "f": ("x", np.array([1, 1e20], "f4"), {"_FillValue": np.float32(1e20)}),
            "i": ("x", np.array([1, -9], "i2"), {"_FillValue": np.int16(-9)}),
            "plain": ("x", np.array([1, 2], "f4")),
        }
    )
    keys = keys_of(dataset)
    assert metadata(keys, "f")["fill_value"] == float(np.float32(1e20))
    assert metadata(keys, "i")["fill_value"] == metadata(keys, "i")["attributes"]["_FillValue"] == -9
    assert metadata(keys, "plain")["fill_value"] == "NaN"
    xr.testing.assert_identical(reopened(dataset), xr.decode_cf(dataset))


def test_zarr_python_reads_our_metadata_as_what_it_would_write():
    keys = keys_of(field())
    group = zarr.open_group(store_of(keys), mode="r")
    assert dict(group.attrs) == {"title": "a test"}
    members = dict(group.members())
    assert set(members) == set(field().variables)
    for name, array in members.items():
        theirs = json.loads(json.dumps(array.metadata.to_dict()))
        ours = {**metadata(keys, name), "storage_transformers": []}
        assert {**theirs, "fill_value": None} == {**ours, "fill_value": None}
        np.testing.assert_array_equal(
            array.fill_value, array.metadata.data_type.from_json_scalar(ours["fill_value"], zarr_format=3)
        )


def test_chunks_follow_the_source_and_stay_below_the_limit():
    assert chunk_shape((1460, 121, 240), [1, 121, 240], 4) == (8, 121, 240)
    assert chunk_shape((100, 100), [10, 10], 8) == (100, 100)
    assert chunk_shape((), [], 8) == ()
    assert chunk_shape((0, 4), [None, None], 8) == (1, 4)


@given(st.lists(st.tuples(st.integers(0, 5000), st.none() | st.integers(-1, 6000)), max_size=4), st.integers(1, 16))
def test_chunks_are_never_empty_nor_beyond_the_limit(lengths, itemsize):
    shape = tuple(length for length, _ in lengths)
    chunks = chunk_shape(shape, [part for _, part in lengths], itemsize)
    assert all(1 <= chunk <= max(1, length) for chunk, length in zip(chunks, shape, strict=True))
    assert np.prod(chunks, dtype=object, initial=1) * itemsize <= CHUNK_BYTES


# --- keys ---------------------------------------------------------------------------------------------------------

SMALL = keys_of(xr.Dataset({"v": (("x", "y"), np.arange(6.0).reshape(2, 3)), "s": ((), 1.0)}))


@pytest.mark.parametrize("key", ["zarr.json", "v/zarr.json", "s/zarr.json", "v/c/0/0", "s/c"])
def test_keys_that_exist(key):
    assert SMALL.get(key)


HOSTILE = [
    *("", "/", "/zarr.json", "zarr.json/", "v", "v/", "v/c", "v/c/0", "v/c/0/0/0", "v/c/00/0", "v/c/0/1", "v/c/-1/0"),
    *("v/c/+0/0", "v/c/0/0/", "v//c/0/0", "v/c/0 /0", "v/c/٠/0", "v/c/0/0\n", "v/../v/zarr.json", "../v/c/0/0"),
    *("./zarr.json", "s/c/0", "s/c/", "v/c/" + "9" * 400 + "/0", "v/c" + "/0" * 5000, "w/zarr.json", "v/.zarray"),
    *(None, 3, b"zarr.json", ("v",)),
]


@pytest.mark.parametrize("key", HOSTILE, ids=lambda key: repr(key)[:20])
def test_any_other_key_does_not_exist(key):
    assert SMALL.get(key) is None


@given(st.text() | st.text("v/c0123456789.s\n") | st.from_regex(r"\A(v|s|zarr\.json)?/?c?(/\d*){0,4}\Z"))
def test_keys_at_random_never_raise(key):
    value = SMALL.get(key)
    assert (value is not None) == (key in {"zarr.json", "v/zarr.json", "s/zarr.json", "v/c/0/0", "s/c"})


@given(st.none() | st.integers(-60, 60), st.none() | st.integers(-60, 60))
def test_ranges_of_bytes_are_python_slices(start, stop):
    whole = np.arange(6.0).tobytes()
    assert SMALL.get("v/c/0/0", start, stop) == whole[start:stop]


@st.composite
def arrays_in_chunks(draw):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9))
    dtype = draw(st.sampled_from(["?", "i1", "<i2", ">i4", "i8", "u1", "u8", "f2", "f4", ">f8", "c8", "U3", "S3"]))
    chunks = draw(st.tuples(*[st.integers(1, 10)] * len(shape)))
    elements = {"alphabet": st.characters(exclude_categories=["Cs"])} if dtype == "U3" else None
    return draw(hnp.arrays(dtype, shape, elements=st.text(**elements, max_size=3) if elements else None)), chunks


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arrays_in_chunks())
def test_any_array_in_any_chunks_comes_back_equal(case):
    values, chunks = case
    dims = [f"d{axis}" for axis in range(values.ndim)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("landbridge.datasets.zarrtypes.CHUNK_BYTES", 64)  # so that small arrays have many chunks
        keys = keys_of(xr.Dataset({"v": (dims, values)}), lambda name: dict(zip(dims, chunks, strict=True)))
    array = zarr.open_array(store_of(keys), path="v", mode="r")
    assert math.prod(array.chunks) <= 64
    np.testing.assert_array_equal(np.asarray(array[...]).astype(values.dtype), values)
