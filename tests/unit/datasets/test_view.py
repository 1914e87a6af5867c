"""One version of a data set: what opens it, what parts of it give, and what becomes of requests that are wrong."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import warnings

import dask.array
import netCDF4
import numpy as np
import pytest
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from landbridge.datasets.sources import file_source
from landbridge.datasets.view import BLOCK_BYTES, DatasetView, without_folders
from landbridge.errors import DatasetChanged, InternalError, InvalidArguments, LandbridgeError, Malformed, TooLarge
from unit.datasets.reader import WHOLE, read_back, there_and_back

MIB = 2**20


def weather() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "t": (("time", "lat", "lon"), rng.normal(size=(40, 60, 80)), {"units": "K"}),
            "area": (("lat", "lon"), rng.normal(size=(60, 80))),
            "count": 7,
        },
        coords={
            "time": np.arange(40),
            "lat": np.arange(60.0),
            "height": (("time", "lat", "lon"), np.zeros((40, 60, 80))),
        },
        attrs={"title": "Weather"},
    )


class Recorded(BackendArray):
    """An array that remembers how it was read."""

    def __init__(self, array) -> None:
        self.array, self.keys, self.shape, self.dtype = array, [], array.shape, array.dtype

    def __getitem__(self, key):
        self.keys.append(key)
        return self.array[key.tuple]


def recorded(array, chunks=None) -> tuple[DatasetView, Recorded]:
    source = Recorded(array)
    dims = [f"d{axis}" for axis in range(array.ndim)]
    variable = xr.Variable(dims, indexing.LazilyIndexedArray(source), encoding={"chunksizes": chunks})
    return DatasetView(xr.Dataset({"x": variable}), "1", raw=False), source


def test_opening_gives_small_variables_and_describes_the_others():
    opened = DatasetView(weather(), "v7", raw=False).open()
    assert (opened["version"], opened["raw"]) == ("v7", False)
    assert set(opened["dataset"].variables) == {"area", "count", "time", "lat"}
    assert opened["dataset"].attrs == {"title": "Weather"}
    assert opened["variables"] == list(weather().variables)
    assert sorted(opened["coords"]) == ["height", "lat", "time"]
    described = {name: rest for name, *rest in opened["lazy"]}
    assert set(described) == {"t", "height"}
    dims, shape, dtype, attrs, encoding, preferred = described["t"]
    assert (dims, shape, dtype, attrs, encoding) == (["time", "lat", "lon"], [40, 60, 80], "f8", {"units": "K"}, {})
    assert preferred == {"time": 40, "lat": 60, "lon": 80}


def test_what_is_in_memory_arrives_as_it_is():
    xr.testing.assert_identical(read_back(DatasetView(weather(), "1", raw=False)), weather())


def test_what_dask_holds_arrives_as_it_is_also_from_irregular_chunks():
    chunked = weather().chunk(time=(3, 17, 20), lat=(59, 1), lon=33)
    view = DatasetView(chunked, "1", raw=False)
    xr.testing.assert_identical(read_back(view), weather())
    key = ["points", [np.array([0, 39, 3]), np.array([59, 0, 3]), WHOLE]]
    np.testing.assert_array_equal(view.read("t", key), weather().t.values[[0, 39, 3], [59, 0, 3]])


def test_many_small_variables_are_bounded_together():
    many = xr.Dataset({f"v{i}": (("x",), np.full(7500, i)) for i in range(40)})
    view = DatasetView(many, "1", raw=False)
    assert sum(variable.nbytes for variable in view.open()["dataset"].variables.values()) <= MIB
    xr.testing.assert_identical(read_back(view), many)


def test_a_variable_with_one_dimension_twice_does_not_keep_the_others_away():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray says that it does not like such variables
        view = DatasetView(xr.Dataset({"cov": (("x", "x"), np.eye(3)), "y": 1}), "1", raw=False)
        opened = there_and_back(view.open())
        np.testing.assert_array_equal(view.read("cov", ["outer", [WHOLE, WHOLE]]), np.eye(3))
    assert opened["lazy"][0][:3] == ["cov", ["x", "x"], [3, 3]]
    assert opened["lazy"][0][6] is None


def test_encoding_travels_without_paths_and_objects(tmp_path):
    weather().to_netcdf(tmp_path / "t.nc", encoding={"t": {"chunksizes": (1, 60, 80), "zlib": True}})
    source = file_source("a/b.data", tmp_path / "t.nc")
    encoding = next(entry for entry in source.current().open()["lazy"] if entry[0] == "t")[5]
    assert encoding["chunksizes"] == (1, 60, 80)
    assert "source" not in encoding
    source.close()


def test_several_selections_go_in_one_call_and_blocks_say_where_they_belong():
    view = DatasetView(weather(), "1", raw=False)
    wanted = [["t", ["outer", [3, WHOLE, WHOLE]]], ["count", ["outer", []]], ["t", ["outer", [slice(0, 0), 0, 0]]]]
    found = list(view.select(wanted))
    assert [(position, start, values.shape) for position, start, values in found] == [
        (0, [0, 0], (60, 80)),
        (1, [], ()),
    ]
    np.testing.assert_array_equal(found[0][2], weather().t.values[3])
    assert found[1][2] == 7


def test_only_contiguous_boxes_are_asked_of_a_file():
    array = np.arange(40 * 60 * 80).reshape(40, 60, 80)
    view, source = recorded(array, (7, 20, 80))
    rng = np.random.default_rng(1)
    fancy = [rng.integers(0, size, 30) for size in array.shape]
    for key, expected in [
        (["outer", fancy], array[np.ix_(*fancy)]),
        (["points", fancy], array[tuple(fancy)]),
        (["outer", [slice(None, None, -3), 5, slice(None, None, 7)]], array[::-3, 5, ::7]),
    ]:
        np.testing.assert_array_equal(view.read("x", key), expected)
    for key in source.keys:
        assert isinstance(key, indexing.BasicIndexer)
        assert all(isinstance(part, slice) and part.step in (None, 1) for part in key.tuple)


@pytest.mark.parametrize(
    "key",
    [
        ["outer", [WHOLE, WHOLE, WHOLE]],
        ["outer", [slice(None, None, 2), slice(None, None, 2), WHOLE]],
        ["points", [WHOLE, np.tile(np.arange(150), 300), np.repeat(np.arange(300), 150)]],
    ],
)
def test_memory_is_about_two_blocks_however_much_is_selected(tmp_path, key):
    with netCDF4.Dataset(tmp_path / "big.nc", "w") as file:
        for name, size in {"time": 400, "lat": 150, "lon": 300}.items():
            file.createDimension(name, size)
        variable = file.createVariable("t", "f4", ("time", "lat", "lon"), chunksizes=(1, 150, 300))
        for step in range(400):
            variable[step] = np.full((150, 300), step)
    source = file_source("a/b.data", tmp_path / "big.nc")
    view, total = source.current(), 0
    gc.collect()
    tracemalloc.start()
    try:
        for _, start, values in view.select([["t", key]]):
            assert values.nbytes <= BLOCK_BYTES
            total += values.nbytes
            del start, values
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 2 * BLOCK_BYTES - MIB
    assert peak < 2.5 * BLOCK_BYTES
    source.close()


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (None, Malformed),
        ("t", Malformed),
        ([None], Malformed),
        ([["t"]], Malformed),
        ([["t", None]], Malformed),
        ([["nowhere", ["outer", []]]], InvalidArguments),
        ([[["t"], ["outer", []]]], InvalidArguments),
        ([[{}, ["outer", []]]], InvalidArguments),
        ([["x" * 10**6, ["outer", []]]], InvalidArguments),
        ([["t", ["outer", [0, 0]]]], InvalidArguments),
        ([["t", ["outer", [0, 0, 0]]], ["t", ["outer", [99, 0, 0]]]], InvalidArguments),
        ([["count", ["outer", []]]] * 1001, InvalidArguments),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_read(wanted, error):
    with pytest.raises(error) as caught:
        DatasetView(weather(), "1", raw=False).select(wanted)
    assert len(str(caught.value)) < 1000


def test_a_whole_selection_at_once_is_bounded():
    view = DatasetView(xr.Dataset({"x": (("a", "b"), dask.array.zeros((10**5, 10**5)))}), "1", raw=False)
    with pytest.raises(TooLarge, match="Read it in parts"):
        view.read("x", ["outer", [WHOLE, WHOLE]])
    with pytest.raises(TooLarge):
        view.read("x", ["points", [np.zeros((10**4, 1), int), np.zeros((1, 10**4), int)]])
    assert view.read("x", ["outer", [slice(0, 1000), 5]]).shape == (1000,)


def test_big_endian_values_keep_their_dtype():
    array = np.arange(20_000, dtype=">f4").reshape(200, 100)
    view, _ = recorded(array, (10, 10))
    found = view.read("x", ["outer", [slice(None, None, 3), WHOLE]])
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array[::3])


class Broken(Recorded):
    def __getitem__(self, key):
        raise OSError("[Errno -101] NetCDF: HDF error: '/home/ada/secret/sst.nc'\nsee https://example.org/a/b")


def test_what_a_library_says_of_a_broken_file_is_told_without_folders_and_traceback():
    variable = xr.Variable(["row"], indexing.LazilyIndexedArray(Broken(np.zeros(10**6))))
    view = DatasetView(xr.Dataset({"x": variable}), "1", raw=False)
    with pytest.raises(InternalError) as caught:
        view.read("x", ["outer", [0]])
    said = str(caught.value)
    assert "Reading 'x' failed" in said
    assert "OSError: [Errno -101] NetCDF: HDF error: 'sst.nc' see https://example.org/a/b" in said
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_change_explains_an_error_better_than_the_library():
    changed = threading.Event()

    class Vanishing(Recorded):
        def __getitem__(self, key):
            changed.set()
            raise RuntimeError("NetCDF: HDF error")

    def check():
        if changed.is_set():
            raise DatasetChanged("geomar/sst.data")

    variable = xr.Variable(["row"], indexing.LazilyIndexedArray(Vanishing(np.zeros(10**6))))
    view = DatasetView(xr.Dataset({"x": variable}), "1", raw=False, check=check)
    with pytest.raises(DatasetChanged) as caught:
        view.read("x", ["outer", [0]])
    assert isinstance(caught.value, LandbridgeError)


def test_folders_are_left_out_but_not_addresses():
    assert without_folders(ValueError("/a/b/c.nc: see https://x.org/y/z.html")) == (
        "ValueError: c.nc: see https://x.org/y/z.html"
    )


SECRETS = ("home", "ada", "my", "secret", "Projekt", "server")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("No such file: '/home/ada/my secret data/Projekt X/sst.nc'", "No such file: 'sst.nc'"),
        ('No such file: "/home/ada/ada\'s secret data/sst.nc"', 'No such file: "sst.nc"'),
        ("cannot read '/home/ada/ada's secret/sst.nc'", "cannot read 'sst.nc'"),
        ("cannot read '/home/ada/my secret data/sst.nc", "cannot read 'sst.nc"),
        ("['/home/ada/my secret/a.nc', '/home/ada/b.nc']", "['a.nc', 'b.nc']"),
        ("failed: file:/home/ada/data/sst.nc", "failed: sst.nc"),
        ("failed: file:///home/ada/my%20secret/sst.nc", "failed: sst.nc"),
        ("failed: 'file:///home/ada/my secret/sst.nc'", "failed: 'sst.nc'"),
        ("reading:/home/ada/sst.nc", "reading:sst.nc"),
        ("zip://a.nc::/home/ada/b.zip", "zip://a.nc::b.zip"),
        ("bad //home/ada/sst.nc", "bad sst.nc"),
        ("bad ~ada/secret/sst.nc", "bad sst.nc"),
        ("bad ../secret/sst.nc", "bad sst.nc"),
        ("bad b'/home/ada/sst.nc'", "bad b'sst.nc'"),
        ("path=/home/ada/sst.nc (/home/ada/b.nc:12)", "path=sst.nc (b.nc:12)"),
        ("group '/home/ada/' missing", "group '…' missing"),
        ("C:\\Users\\ada\\x.nc", "x.nc"),
        ("'C:\\\\Users\\\\ada\\\\my secret\\\\x.nc' is gone", "'x.nc' is gone"),
        ("C:/Users/ada/x.nc, \\\\server\\ada\\y.nc", "x.nc, y.nc"),
        (
            "see https://x.org/y/z.html: 3 m/s, and/or 1 / 2 '/' /km",
            "see https://x.org/y/z.html: 3 m/s, and/or 1 / 2 '/' /km",
        ),
    ],
)
def test_no_part_of_a_path_but_its_last_is_told(said, told):
    assert without_folders(OSError(said)) == f"OSError: {told}"
    assert not any(secret in told for secret in SECRETS)


def test_folders_that_are_known_are_left_out_without_quotes_too():
    error = OSError("cannot open /home/ada/my secret data/Projekt X/sst.nc in /home/ada/my secret data")
    told = without_folders(error, ["/home/ada/my secret data/Projekt X/sst.nc"])
    assert told == "OSError: cannot open sst.nc in /…"


def test_a_path_is_left_out_before_the_text_is_shortened():
    told = without_folders(OSError("x" * 480 + " '/home/ada/my secret data/sst.nc'"))
    assert not any(secret in told for secret in SECRETS)


def test_a_view_leaves_out_the_folder_of_its_own_file():
    class Unquoted(Recorded):
        def __getitem__(self, key):
            raise OSError("cannot open /home/ada/my secret data/sst.nc now")

    variable = xr.Variable(["row"], indexing.LazilyIndexedArray(Unquoted(np.zeros(10**6))))
    dataset = xr.Dataset({"x": variable})
    dataset.encoding["source"] = "/home/ada/my secret data/sst.nc"
    with pytest.raises(InternalError, match=r"cannot open sst\.nc now"):
        DatasetView(dataset, "1", raw=False).read("x", ["outer", [0]])


def test_two_reads_at_a_time_are_the_most():
    running, most, lock = [], [], threading.Lock()
    both = threading.Barrier(2, timeout=20)

    class Slow(Recorded):
        def __getitem__(self, key):
            with lock:
                running.append(key)
                most.append(len(running))
            both.wait()  # only ever passed by two that read at the same time
            with lock:
                running.pop()
            return super().__getitem__(key)

    variable = xr.Variable(["row"], indexing.LazilyIndexedArray(Slow(np.arange(10**5))))
    view = DatasetView(xr.Dataset({"x": variable}), "1", raw=False)
    threads = [threading.Thread(target=view.read, args=("x", ["outer", [n]])) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 6
    assert max(most) == 2
