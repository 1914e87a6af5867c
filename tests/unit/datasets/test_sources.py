"""Where data sets come from: files that change, several files, functions; versions and errors."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from landbridge.datasets.sources import file_source, function_source
from landbridge.datasets.view import BLOCK_BYTES
from landbridge.errors import DatasetChanged, InternalError, MissingExtra, NothingToServe
from unit.datasets.reader import WHOLE, read_back

TARGET = "geomar/sst.data"
ALL = ["outer", [WHOLE, WHOLE, WHOLE]]


def steps(first: int, count: int = 6, size: int = 60, **attrs) -> xr.Dataset:
    values = np.random.default_rng(first).normal(280, 5, (count, size, size)).astype("f4")
    return xr.Dataset(
        {"t": (("time", "lat", "lon"), values, {"units": "K"})},
        coords={
            "time": ("time", pd.date_range("2000-01-01", periods=60)[first : first + count]),
            "lat": np.linspace(0, 1, size),
            "lon": np.arange(size),
            "mask": (("lat", "lon"), np.ones((size, size), "i1")),
            "label": ("time", [f"step {first + n}" for n in range(count)]),
        },
        attrs=attrs,
    )


# --- one file -----------------------------------------------------------------------------------------------------


def test_a_source_opens_late_and_once(tmp_path):
    source = file_source(TARGET, tmp_path / "t.nc")
    steps(0).to_netcdf(tmp_path / "t.nc")
    view = source.current()
    assert source.current() is view
    assert source.at(view.version) is view
    source.close()


def test_two_backends_on_one_file_agree_on_its_version(tmp_path):
    steps(0).to_netcdf(tmp_path / "t.nc")
    versions = {file_source(TARGET, tmp_path / "t.nc").current().version for _ in range(2)}
    os.symlink(tmp_path, tmp_path / "mounted")
    versions.add(file_source(TARGET, tmp_path / "mounted" / "t.nc").current().version)
    assert len(versions) == 1


def replace(path):
    steps(7).to_netcdf(path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def touch(path):
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [replace, truncate, touch, os.remove], ids=lambda change: change.__name__)
def test_what_was_opened_before_a_change_is_not_mixed_with_what_came_after(tmp_path, change):
    path = tmp_path / "t.nc"
    steps(0).to_netcdf(path)
    source = file_source(TARGET, path)
    view = source.current()
    change(path)
    for use in (
        lambda: view.read("t", ALL),
        lambda: view.open(),
        lambda: list(view.select([["t", ALL]])),
    ):
        with pytest.raises(DatasetChanged, match=r"geomar/sst\.data has changed since it was opened") as caught:
            use()
        assert caught.value.__context__ is None


def test_a_change_in_the_middle_of_a_selection_ends_it(tmp_path):
    steps(0, 60, 300).to_netcdf(tmp_path / "t.nc")
    source = file_source(TARGET, tmp_path / "t.nc")
    blocks = source.current().select([["t", ALL]])
    assert next(blocks)[2].nbytes > BLOCK_BYTES / 2
    touch(tmp_path / "t.nc")
    with pytest.raises(DatasetChanged):
        next(blocks)
    source.close()


def test_after_a_change_the_file_is_opened_again(tmp_path):
    path = tmp_path / "t.nc"
    steps(0).to_netcdf(path)
    source = file_source(TARGET, path)
    old = source.current()
    replace(path)
    with pytest.raises(DatasetChanged):
        source.at(old.version)
    new = source.current()
    assert new.version != old.version
    np.testing.assert_array_equal(new.read("t", ALL), steps(7).t.values)
    source.close()


def test_a_file_that_is_gone_is_named_without_its_folder(tmp_path):
    path = tmp_path / "t.nc"
    steps(0).to_netcdf(path)
    source = file_source(TARGET, path)
    version = source.current().version
    os.remove(path)
    with pytest.raises(DatasetChanged):
        source.at(version)
    with pytest.raises(NothingToServe, match=r"there is no file 't\.nc' in its folder") as caught:
        source.current()
    assert str(tmp_path) not in str(caught.value)
    steps(0).to_netcdf(path)
    assert source.current().version != version
    source.close()


def test_damage_that_does_not_show_in_the_files_stats_is_told_as_a_failure(tmp_path):
    path = tmp_path / "t.nc"
    steps(0, 60, 100).to_netcdf(path, encoding={"t": {"chunksizes": (1, 100, 100), "zlib": True}})
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size // 3)
        file.write(os.urandom(before.st_size // 3))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    source = file_source(TARGET, path)
    with pytest.raises((InternalError, NothingToServe)) as caught:
        source.current().read("t", ALL)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_folder_that_was_written_to_has_another_version(tmp_path, version):
    path = tmp_path / "t.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steps(0).drop_vars("label").chunk(time=1).to_zarr(path, zarr_format=version)
        source = file_source(TARGET, path)
        old = source.current()
        part = steps(20, 1).drop_vars(["label", "lat", "lon", "mask", "time"])
        part.to_zarr(path, region={"time": slice(2, 3)}, zarr_format=version)
    with pytest.raises(DatasetChanged):
        old.read("t", ALL)
    new = source.current()
    assert new.version != old.version
    np.testing.assert_array_equal(new.read("t", ALL)[2], part.t.values[0])


def test_many_threads_open_it_once_and_read_the_same(tmp_path):
    steps(0, 30, 200).to_netcdf(tmp_path / "t.nc", encoding={"t": {"chunksizes": (1, 200, 200), "zlib": True}})
    source, expected, found = file_source(TARGET, tmp_path / "t.nc"), steps(0, 30, 200).t.values, []

    def read(step):
        view = source.current()
        found.append((view, np.array_equal(view.read("t", ["outer", [step, WHOLE, WHOLE]]), expected[step])))

    threads = [threading.Thread(target=read, args=(step,)) for step in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 12
    assert len({id(view) for view, _ in found}) == 1
    assert all(same for _, same in found)
    source.close()


def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    (tmp_path / "t.grib").write_bytes(b"GRIB")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(MissingExtra, match=r"needs the package cfgrib.*pip install cfgrib"):
        file_source(TARGET, tmp_path / "t.grib").current()


def test_files_that_only_dask_can_combine_say_so_without_it(tmp_path, monkeypatch):
    for number in range(4):
        in_a_grid(number).to_netcdf(tmp_path / f"part-{number}.nc")
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "dask" else found(name, *rest))
    with pytest.raises(MissingExtra, match=r"pip install 'landbridge\[dask\]'"):
        file_source(TARGET, tmp_path / "part-*.nc").current()


def test_without_xarray_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.nc").write_bytes(b"CDF")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'landbridge\[xarray\]'"):
        file_source(TARGET, tmp_path / "t.nc").current()


# --- several files ------------------------------------------------------------------------------------------------


def plain(number):
    return steps(6 * number, title=f"part {number}")


def other_time_units(number):
    part = steps(6 * number)
    part.time.encoding.update(units=f"{['hours', 'days', 'minutes'][number]} since 199{number}-01-01")
    return part


def packed_differently(number):
    part = steps(6 * number)
    part.t.encoding.update(dtype="i2", scale_factor=0.01 * (number + 1), add_offset=280.0, _FillValue=-32768)
    return part


def backwards(number):
    return steps(6 * number).isel(time=slice(None, None, -1))


def files_in_another_order(number):
    return steps(6 * [2, 0, 1][number], part=number)


def with_a_variable_without_time(number):
    return steps(6 * number).assign(area=(("lat", "lon"), np.ones((60, 60))))


def with_a_variable_that_differs(number):
    return steps(6 * number).assign(area=(("lat", "lon"), np.full((60, 60), number)))


def along_latitude(number):
    return steps(0).isel(lat=slice(20 * number, 20 * number + 20)).drop_vars("mask")


def in_a_grid(number):
    return (
        steps(0)
        .isel(
            lat=slice(30 * (number % 2), 30 * (number % 2) + 30),
            lon=slice(30 * (number // 2), None if number // 2 else 30),
        )
        .drop_vars("mask")
    )


def each_with_its_own_variable(number):
    return steps(0).rename(t=f"t{number}")


def of_other_dtypes(number):
    return steps(6 * number).astype(["f4", "f8", "f4"][number])


LAYOUTS = {
    plain: 3,
    other_time_units: 3,
    packed_differently: 3,
    backwards: 3,
    files_in_another_order: 3,
    with_a_variable_without_time: 3,
    along_latitude: 3,
    with_a_variable_that_differs: 3,
    in_a_grid: 4,
    each_with_its_own_variable: 3,
    of_other_dtypes: 3,
}
READ_BY_DASK = (with_a_variable_that_differs, in_a_grid, each_with_its_own_variable)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_several_files_are_what_open_mfdataset_makes_of_them(tmp_path, layout):
    for number in range(LAYOUTS[layout]):
        layout(number).to_netcdf(tmp_path / f"part-{number}.nc")
    source = file_source(TARGET, tmp_path / "part-*.nc")
    view = source.current()
    assert bool(view.dataset.chunks) == (layout in READ_BY_DASK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of defaults that will change
        with xr.open_mfdataset(str(tmp_path / "part-*.nc")) as expected:
            xr.testing.assert_identical(read_back(view), expected)
            for name, variable in expected.variables.items():
                key = [
                    slice(None, None, -2) if axis else np.arange(size)[::-3] for axis, size in enumerate(variable.shape)
                ]
                np.testing.assert_array_equal(view.read(name, ["outer", key]), variable.values[tuple(key)])
    source.close()


def test_a_new_file_of_the_pattern_is_a_change(tmp_path):
    for number in range(2):
        plain(number).to_netcdf(tmp_path / f"part-{number}.nc")
    source = file_source(TARGET, str(tmp_path / "part-*.nc"))
    old = source.current()
    plain(2).to_netcdf(tmp_path / "part-2.nc")
    with pytest.raises(DatasetChanged):
        source.at(old.version)
    assert source.current().dataset.sizes["time"] == 18
    source.close()


def test_a_pattern_that_no_file_fits_is_refused(tmp_path):
    with pytest.raises(NothingToServe, match=r"there is no file 'part-\*\.nc'"):
        file_source(TARGET, tmp_path / "part-*.nc").current()


def test_files_that_do_not_go_together_are_refused_with_the_reason(tmp_path):
    for number in range(2):
        steps(0).drop_vars(["time", "lat", "lon"]).to_netcdf(tmp_path / f"part-{number}.nc")
    with pytest.raises(NothingToServe, match="Could not find any dimension coordinates"):
        file_source(TARGET, tmp_path / "part-*.nc").current()


def test_one_file_that_fits_a_pattern_is_a_data_set(tmp_path):
    plain(0).to_netcdf(tmp_path / "part-0.nc")
    source = file_source(TARGET, tmp_path / "part-*.nc")
    xr.testing.assert_identical(read_back(source.current()), plain(0))
    source.close()


# --- functions ----------------------------------------------------------------------------------------------------


def test_a_function_is_called_once_and_what_it_returns_is_served():
    calls = []

    def made():
        calls.append(1)
        return steps(0)

    source = function_source(TARGET, made)
    assert calls == []
    xr.testing.assert_identical(read_back(source.current()), steps(0))
    source.at(source.current().version)
    assert calls == [1]


def test_two_backends_that_return_the_same_agree_on_the_version_and_others_do_not():
    versions = [
        function_source(TARGET, function).current().version
        for function in (
            lambda: steps(0),
            lambda: steps(0),
            lambda: steps(0, title="another"),
            lambda: steps(0).assign_coords(lat=np.linspace(0, 2, 60)),
            lambda: steps(0).rename(t="u"),
        )
    ]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 4


def test_a_function_is_called_again_when_the_file_behind_it_changed(tmp_path):
    path = tmp_path / "t.nc"
    steps(0).to_netcdf(path)
    source = function_source(TARGET, lambda: xr.open_dataset(path)[["t"]])
    version = source.current().version
    replace(path)
    with pytest.raises(DatasetChanged):
        source.at(version)
    np.testing.assert_array_equal(source.current().read("t", ALL), steps(7).t.values)


def test_what_is_lazy_and_from_a_file_is_checked_while_it_is_read(tmp_path):
    steps(0).to_netcdf(tmp_path / "t.nc")
    old = function_source(TARGET, lambda: xr.open_dataset(tmp_path / "t.nc")).current()
    replace(tmp_path / "t.nc")
    with pytest.raises(DatasetChanged):
        old.read("t", ALL)


def test_arrays_and_frames_become_data_sets():
    array = function_source("geomar/sst.anomaly", lambda: steps(0).t.rename(None)).current()
    assert list(array.dataset.data_vars) == ["anomaly"]
    frame = function_source(TARGET, lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]})).current()
    assert dict(frame.dataset.sizes) == {"row": 2}


@pytest.mark.parametrize("returned", [None, 3, [1, 2], np.zeros(3), pd.Series([1])], ids=lambda v: type(v).__name__)
def test_anything_else_that_a_function_returns_is_refused(returned):
    with pytest.raises(NothingToServe, match=r"returned \w+, which is no data set"):
        function_source(TARGET, lambda: returned).current()


def test_what_a_function_raises_is_told_and_asked_again():
    results = iter([ValueError("no data today"), steps(0)])

    def sometimes():
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    source = function_source(TARGET, sometimes)
    with pytest.raises(ValueError, match=r"^no data today$"):
        source.current()
    assert source.current().dataset.sizes["time"] == 6


def test_an_index_of_several_levels_travels_when_the_data_set_is_opened():
    stacked = steps(0).stack(place=("lat", "lon"))
    opened = function_source(TARGET, lambda: stacked).current().open()["dataset"]
    assert opened.indexes["place"].equals(stacked.indexes["place"])


def test_a_large_variable_with_a_dtype_of_pandas_is_refused_with_what_to_do():
    large = xr.Dataset({"kind": ("x", pd.Categorical(["a", "b"] * 20_000))})
    with pytest.raises(NothingToServe, match=r"\.astype\(object\)"):
        function_source(TARGET, lambda: large).current()


def test_what_the_owner_does_with_a_data_set_later_is_not_served():
    mine = steps(0)
    view = function_source(TARGET, lambda: mine).current()
    mine["added"] = 1
    assert "added" not in view.open()["variables"]
