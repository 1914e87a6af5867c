"""Data sets of colleagues: opened lazily, sliced at their owner, the same as the file at home."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import signal
import threading
import urllib.request
from pathlib import Path

import dask
import iris_sample_data
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import landbridge as lb

OCEAN = '''
"""Data sets of an ocean model."""
import numpy as np
import pandas as pd
import xarray as xr
import landbridge as lb

def made():
    time = pd.date_range("2006-01-01", periods=48, freq="MS")
    rng = np.random.default_rng(3)
    return xr.Dataset(
        {
            "sst": (("time", "lat", "lon"), rng.random((48, 60, 120)).astype("f4"), {"units": "K"}),
            "station": ("lat", np.array([f"s{k}" for k in range(60)], dtype=object)),
            "mask": (("lat", "lon"), rng.random((60, 120)) > 0.5),
        },
        coords={"time": time, "lat": np.linspace(-59, 59, 60), "lon": np.arange(0.0, 360.0, 3.0)},
        attrs={"title": "made up", "history": "for a test"},
    )

@lb.dataset(share=["awi/*"])
def model():
    """A model that was made up."""
    return made()

@lb.dataset
def odd():
    """Indexes and dtypes that only pandas has."""
    station = pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["basin", "number"])
    coords = xr.Coordinates.from_pandas_multiindex(station, "station")
    kinds = pd.Categorical(["buoy", "ship", "buoy", "ship", "ship", "buoy"])
    return xr.Dataset({"kind": ("station", kinds), "depth": ("station", np.arange(6.0))}, coords)

@lb.dataset
def broken():
    raise OSError("the disk is being changed")

@lb.dataset
def no_dataset():
    return 3

@lb.method
def first() -> float:
    return float(made().sst[0, 0, 0])
'''
SAMPLES = Path(iris_sample_data.path)


def made():
    namespace: dict = {}
    exec(OCEAN, namespace)
    return namespace["made"]()


@pytest.fixture(scope="module")
def ocean(network, net):
    return network.serve(OCEAN, "geomar/ocean", "--metrics")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def big(folder):
    """A file of 26 MB with one step in each chunk, packed."""
    file = folder / "big.nc"
    rng = np.random.default_rng(1)
    field = rng.normal(280, 10, (365, 90, 180)).astype("f4")
    dataset = xr.Dataset(
        {"t": (("time", "lat", "lon"), field, {"units": "K"})},
        coords={"time": pd.date_range("2007-01-01", periods=365), "lat": np.arange(90.0), "lon": np.arange(180.0)},
    )
    encoding = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
    dataset.to_netcdf(file, encoding={"t": {**encoding, "chunksizes": (1, 90, 180)}})
    return file


@pytest.fixture(scope="module")
def served(network, net, big):
    return network.start("serve", str(big), "--as", "geomar/big", "--json", "--metrics")


def counted(process, verb, what="calls_begun"):
    with urllib.request.urlopen(process.ready["metrics"], timeout=10) as answer:
        page = answer.read().decode()
    (found,) = re.findall(rf'landbridge_{what}_total{{[^}}]*method="{verb}"[^}}]*}} (\d+)', page)
    return int(found)


def test_a_function_is_opened_as_if_it_were_called_at_home(ocean, net):
    with lb.open("geomar/ocean.model") as dataset:
        assert not dataset.sst.variable._in_memory
        xr.testing.assert_identical(dataset, made())
    xr.testing.assert_identical(net.geomar.ocean.model(), made())
    assert "A model that was made up" in type(net.geomar.ocean.model).__doc__
    xr.testing.assert_identical(xr.open_dataset("landbridge://geomar/ocean.model", engine="landbridge"), made())


def test_indexes_and_dtypes_of_pandas_come_along(ocean):
    namespace: dict = {}
    exec(OCEAN, namespace)
    with lb.open("geomar/ocean.odd") as dataset:
        xr.testing.assert_identical(dataset, namespace["odd"]())
        assert float(dataset.depth.sel(basin="b", number=2)) == 4.0


def test_a_script_imports_a_data_set_like_a_function(network, ocean):
    run = network.python("""
        from landbridge.remote.geomar.ocean import model
        print(float(model().sst[0, 0, 0]))
    """)
    assert float(run.stdout) == float(made().sst[0, 0, 0]), run.stderr


def test_a_module_with_several_data_sets_wants_one_named(ocean):
    with pytest.raises(lb.InvalidName, match=r"it has model, odd, broken, no_dataset; name one"):
        lb.open("geomar/ocean")
    with pytest.raises(lb.InvalidName, match="it is a method or class; call it"):
        lb.open("geomar/ocean.first")
    with pytest.raises(lb.UnknownMember, match=r"modle.*model"):
        lb.open("geomar/ocean.modle")


def test_what_a_function_raises_arrives_as_from_a_method(ocean):
    with pytest.raises(OSError, match="the disk is being changed"):
        lb.open("geomar/ocean.broken")
    with pytest.raises(lb.LandbridgeError, match=r"no_dataset.*int"):
        lb.open("geomar/ocean.no_dataset")


def test_who_may_not_read_is_told_so(ocean):
    with lb.connect("awi/anna") as anna:
        xr.testing.assert_identical(anna["geomar/ocean"].model().load(), made())
        assert dir(anna["geomar/ocean"]) == ["model"]
    with lb.connect("gfz/bob") as bob, pytest.raises(lb.PermissionDenied, match="has not shared"):
        bob._open_dataset(bob, "geomar/ocean.model")


def test_a_file_is_served_as_it_is(served, big):
    with xr.open_dataset(big) as local, lb.open("geomar/big") as remote:
        xr.testing.assert_identical(remote, local)
        assert remote.t.encoding["scale_factor"] == 0.01
        assert remote.t.dtype == local.t.dtype
    raw = {"mask_and_scale": False, "decode_times": False}
    with xr.open_dataset(big, **raw) as local, lb.open("geomar/big.data", **raw) as remote:
        xr.testing.assert_identical(remote, local)


SELECTIONS = {
    "map": lambda d: d.t[17],
    "point": lambda d: d.t[:, 30, 40],
    "box": lambda d: d.t[100:130, 10:20, 20:50],
    "strided": lambda d: d.t[::10, ::4, ::4],
    "backwards": lambda d: d.t[::-7, 5, ::-1],
    "list": lambda d: d.t.isel(time=[300, 3, 3, 17], lon=[1, 170]),
    "points": lambda d: d.t.isel(
        time=xr.DataArray(np.arange(0, 360, 3), dims="p"),
        lat=xr.DataArray(np.arange(120) % 90, dims="p"),
        lon=xr.DataArray(np.arange(120), dims="p"),
    ),
    "sel": lambda d: d.t.sel(time="2007-05", lat=slice(3, 9)),
    "one": lambda d: d.t[3, 4, 5],
    "nothing": lambda d: d.t[5:5],
}


@pytest.mark.parametrize("what", SELECTIONS)
def test_a_selection_is_one_call_and_carries_what_it_needs(served, big, what):
    with xr.open_dataset(big) as local, lb.open("geomar/big") as remote:
        calls, out = counted(served, "data.select"), counted(served, "data.select", "sent_bytes")
        selected = SELECTIONS[what](remote).load()
        xr.testing.assert_identical(selected, SELECTIONS[what](local).load())
        assert counted(served, "data.select") - calls == (1 if selected.size else 0)
        needed = selected.size * 2  # packed numbers travel as they are in the file
        assert counted(served, "data.select", "sent_bytes") - out <= 1.05 * needed + 4096


def test_opening_is_one_call(served):
    opens, selects = counted(served, "data.open"), counted(served, "data.select")
    lb.open("geomar/big").close()
    assert counted(served, "data.open") - opens == 1
    assert counted(served, "data.select") == selects


def test_dask_fetches_chunks_of_some_16_mb(served, big):
    with xr.open_dataset(big) as local, lb.open("geomar/big", chunks={}) as remote:
        assert 8e6 < np.prod(remote.t.data.chunksize) * 2 < 20e6
        with dask.config.set(scheduler="threads"):
            np.testing.assert_allclose(remote.t.mean("time").compute(), local.t.mean("time"), rtol=1e-6)
        assert lb.open("geomar/big", chunks={}).t.data.name == remote.t.data.name


def test_a_lazy_data_set_is_pickled_as_where_it_is(network, served, big, tmp_path):
    with lb.open("geomar/big") as remote:
        pickled = pickle.dumps(remote.t[:, 3])
    assert len(pickled) < 20_000
    (tmp_path / "lazy.pickle").write_bytes(pickled)
    run = network.python(f"""
        import pickle
        print(float(pickle.loads(open({str(tmp_path / "lazy.pickle")!r}, "rb").read())[5, 7]))
    """)
    with xr.open_dataset(big) as local:
        assert float(run.stdout) == float(local.t[5, 3, 7]), run.stderr


def test_variables_are_loaded_at_the_same_time_in_a_coroutine(ocean):
    async def main():
        with lb.open("geomar/ocean.model") as dataset:
            return await dataset.load_async()

    xr.testing.assert_identical(asyncio.run(main()), made())


def test_for_asyncio_it_is_told_how_to_open_one(ocean):
    async def main():
        async with lb.AsyncNetwork() as net:
            await net.geomar.ocean.model()

    with pytest.raises(lb.InvalidName, match="load_async"):
        asyncio.run(main())


def test_reductions_run_at_the_owner_and_only_their_result_travels(served, big):
    with xr.open_dataset(big) as local, lb.open("geomar/big") as remote:
        out = counted(served, "data.compute", "sent_bytes")
        far = remote.landbridge
        clim = far.t.groupby("time.month").mean("time").compute()
        xr.testing.assert_allclose(clim, local.t.groupby("time.month").mean("time"))
        anomaly = ((far.t - far.t.mean("time")) / far.t.std("time")).sel(lat=slice(3, 9)).mean(["lat", "lon"]).compute()
        home = ((local.t - local.t.mean("time")) / local.t.std("time")).sel(lat=slice(3, 9)).mean(["lat", "lon"])
        xr.testing.assert_allclose(anomaly, home, rtol=1e-3)
        needed = clim.nbytes + anomaly.nbytes
        assert counted(served, "data.compute", "sent_bytes") - out <= 1.05 * needed + 8192
        with pytest.raises(ValueError, match="Begin from the one that was opened"):
            _ = remote.isel(time=0).landbridge
        with pytest.raises(AttributeError):
            _ = far.t.to_netcdf


def test_reductions_of_a_result_that_stays(network, net):
    source = OCEAN.replace('@lb.dataset(share=["awi/*"])', "@lb.method")
    network.serve(source, "ptb/ocean")
    with net["ptb/ocean"].model.keep().open() as remote:
        xr.testing.assert_allclose(remote.landbridge.sst.mean("time").compute(), made().sst.mean("time"))


def test_zarr_reads_the_same(served, ocean, big):
    store = lb.zarr_store("geomar/big")
    with xr.open_dataset(big) as local, xr.open_zarr(store) as remote:
        xr.testing.assert_identical(remote.load(), local)
    assert zarr.open_group(store, mode="r")["t"].shape == (365, 90, 180)
    assert pickle.loads(pickle.dumps(store)) is not store
    with xr.open_zarr(lb.zarr_store("geomar/ocean.model")) as remote:
        xr.testing.assert_equal(remote.sst, made().sst)


@pytest.mark.parametrize(
    "name", ["ostia_monthly.nc", "SOI_Darwin.nc", "A1B_north_america.nc", "toa_brightness_stereographic.nc"]
)
def test_real_files_are_identical(network, net, name):
    process = network.start("serve", str(SAMPLES / name), "--as", "awi/sample", "--json")
    with xr.open_dataset(SAMPLES / name) as local, lb.open("awi/sample") as remote:
        xr.testing.assert_identical(remote, local)
    process.stop()


def test_several_files_are_one_data_set(network, net, folder):
    for year in (2006, 2007):
        time_axis = pd.date_range(f"{year}-01-01", periods=12, freq="MS")
        part = xr.Dataset({"sst": (("time", "x"), np.full((12, 5), year, "f4"))}, {"time": time_axis})
        part.to_netcdf(folder / f"part_{year}.nc")
    network.start("serve", str(folder / "part_*.nc"), "--as", "awi/parts", "--json")
    with xr.open_mfdataset(str(folder / "part_*.nc")) as local, lb.open("awi/parts") as remote:
        xr.testing.assert_identical(remote.load(), local.load())


def test_tables_are_data_sets_of_rows(network, net, folder):
    table = pd.DataFrame({"t": [1.5, None, 3.0], "name": ["a", None, "c"], "n": [1, 2, 3]})
    table.to_parquet(folder / "buoys.parquet")
    network.start("serve", str(folder / "buoys.parquet"), "--as", "awi/buoys", "--json")
    with lb.open("awi/buoys") as remote:
        back = remote.to_dataframe()
    assert list(back.columns) == ["t", "name", "n"]
    np.testing.assert_array_equal(back.t, table.t)
    assert back.n.tolist() == [1, 2, 3]


def test_a_file_that_changes_is_noticed_and_can_be_opened_again(network, net, folder):
    file = folder / "changes.nc"
    xr.Dataset({"a": ("x", np.zeros(100_000))}).to_netcdf(file)
    network.start("serve", str(file), "--as", "awi/changes", "--json")
    before = lb.open("awi/changes")
    assert float(before.a[3]) == 0.0
    xr.Dataset({"a": ("x", np.ones(100_000))}).to_netcdf(folder / "new.nc")
    os.replace(folder / "new.nc", file)
    with pytest.raises(lb.DatasetChanged, match="Open it again"):
        before.a[4].load()
    assert float(lb.open("awi/changes").a[4]) == 1.0


def test_an_owner_that_is_killed_during_a_slice_costs_no_more_than_time(network, net, folder):
    file = folder / "long.nc"
    field = np.arange(20_000_000, dtype="f8")
    xr.Dataset({"a": ("x", field)}).to_netcdf(file)
    process = network.start("serve", str(file), "--as", "awi/long", "--json")
    with lb.open("awi/long") as remote:
        killer = threading.Timer(0.05, os.kill, (process.pid, signal.SIGKILL))
        killer.start()
        loaded = remote.a.load()
        killer.join()
    np.testing.assert_array_equal(loaded, field)


@pytest.mark.parametrize(
    "what", ["nosuch.nc", "*.nothing", "README.md", "."], ids=["missing", "no match", "no data", "a folder"]
)
def test_what_cannot_be_served_says_why(network, folder, what):
    (folder / "README.md").write_text("no data")
    run = network.run("serve", str(folder / what), "--as", "awi/nothing")
    assert run.returncode == 2, run
    assert "Traceback" not in run.stderr
    assert len(run.stderr) > 40


def test_the_command_line_tells_how_a_data_set_is_read(network, ocean, served):
    assert 'landbridge.open("geomar/ocean.model")' in network.run("describe", "geomar/ocean").stdout
    assert "A model that was made up" in network.run("describe", "geomar/ocean.model").stdout
    run = network.run("call", "geomar/ocean.model")
    assert run.returncode == 2
    assert 'landbridge.open("geomar/ocean.model")' in run.stderr


def test_references_are_opened_like_data_sets(network, net):
    source = (
        OCEAN.replace('@lb.dataset(share=["awi/*"])', "@lb.method")
        + "\n@lb.method\ndef lazily() -> xr.Dataset:\n    return made().chunk({'time': 12})\n"
        + "\n@lb.method\ndef one() -> xr.DataArray:\n    return made().sst\n"
    )
    network.serve(source, "ifm/kept")
    kept = net["ifm/kept"].lazily.keep()
    assert kept.info()["state"] == "lazy"
    with kept.open() as remote:
        xr.testing.assert_identical(remote.isel(time=slice(3, 40, 5)).load(), made().isel(time=slice(3, 40, 5)))
    with net["ifm/kept"].one.keep().open() as remote:
        xr.testing.assert_identical(remote.sst, made().sst)
    with pytest.raises(TypeError, match="only data sets can be opened"):
        net["ifm/kept"].first.keep().open()


def test_a_third_institute_can_have_a_reference_as_a_lazy_data_set(network, net, ocean):
    network.serve(OCEAN.replace('@lb.dataset(share=["awi/*"])', '@lb.method(share=["awi/*"])'), "iow/ocean")
    network.serve(
        """
        from typing import Annotated
        import xarray as xr
        import landbridge as lb

        @lb.method(share=["*/*"])
        def point(data: Annotated[xr.Dataset, lb.lazy]) -> list:
            return [data.sst.variable._in_memory, float(data.sst[3, 4, 5])]
        """,
        "awi/reader",
    )
    assert net["awi/reader"].point(net["iow/ocean"].model.keep()) == [False, float(made().sst[3, 4, 5])]


@pytest.mark.parametrize("use", ["lb.open('geomar/ocean.model')", "lb.zarr_store('geomar/ocean.model')"])
def test_without_xarray_it_is_told_what_to_install(network, ocean, use):
    run = network.python(f"""
        import sys
        sys.modules["xarray"] = None
        import landbridge as lb
        try:
            {use}
        except lb.MissingExtra as error:
            print(error)
    """)
    assert "landbridge[xarray]" in run.stdout, run.stderr


def test_a_module_is_opened_by_its_data_set_named_data_if_it_has_one(network, ocean):
    network.serve(OCEAN.replace("def odd", "def data"), "dkrz/several")
    store = lb.zarr_store("dkrz/several")
    assert "dkrz/several.data" in repr(store)
    assert "depth" in lb.open("dkrz/several")
