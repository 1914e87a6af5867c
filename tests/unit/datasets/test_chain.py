"""What a reader writes with `ds.landbridge` runs at the owner with one call, and only on the data set it opened."""

import copy
import datetime
import inspect
import pickle
from dataclasses import dataclass

import iris_sample_data
import numpy as np
import pytest
import xarray as xr

from landbridge import wire
from landbridge.backend.execution import OwnError
from landbridge.datasets.chain import Chain
from landbridge.datasets.opening import opened
from landbridge.datasets.remote import RemoteSource, fill
from landbridge.datasets.serving import opens, verbs
from landbridge.datasets.sources import file_source
from landbridge.engine import LandbridgeBackend
from landbridge.errors import CannotTravel, InvalidArguments, RemoteError
from landbridge.names import Address
from landbridge.protocol.failure import error_to_meta, meta_to_error

OSTIA = f"{iris_sample_data.path}/ostia_monthly.nc"


def travelled(value):
    return wire.decode(b"".join(wire.encode(value)))


SERVED = []


@dataclass(frozen=True)
class Owner(RemoteSource):
    """Asks the owner's verbs of a data set: all that travels is encoded and decoded, only the network is missing."""

    number: int = 0
    calls: list = None

    @property
    def answers(self):
        return SERVED[self.number]

    def open(self):
        return travelled(self.answers["open"]())

    def select(self, version, wanted):
        self.calls.append("select")
        blocks = self.answers["select"](version, travelled([part.travelling() for part in wanted]))
        fill([part.into for part in wanted], map(travelled, blocks), "owner")

    def compute(self, version, steps):
        self.calls.append("compute")
        try:
            return travelled(self.answers["compute"](version, travelled(steps)))
        except OwnError as error:
            raise meta_to_error(error_to_meta(error.error), "geomar/sst.data.compute") from None

    def __dask_tokenize__(self):
        return ("owner", str(self.number))


def served(answers, calls, **options):
    SERVED.append(answers)
    source = Owner(None, Address("geomar", "sst", "data"), None, len(SERVED) - 1, calls)
    return xr.open_dataset(
        "landbridge://geomar/sst.data", engine=LandbridgeBackend, opened_already=opened(source), **options
    )


@pytest.fixture
def calls():
    return []


@pytest.fixture(params=[None, {}], ids=["lazy", "chunked"])
def ds(request, calls):
    return served(verbs(file_source("geomar/sst.data", OSTIA)), calls, chunks=request.param)


@pytest.fixture
def home():
    with xr.open_dataset(OSTIA) as dataset:
        yield dataset


# --- one call -----------------------------------------------------------------------------------------------------


def test_a_chain_runs_with_one_call_and_gives_what_it_gives_at_home(ds, home, calls):
    far = ds.landbridge
    found = far.surface_temperature.sel(latitude=slice(-3, 3)).groupby("time.month").mean("time").compute()
    local = home.surface_temperature.sel(latitude=slice(-3, 3)).groupby("time.month").mean("time")
    xr.testing.assert_identical(found, local)
    assert calls == ["compute"]


def test_an_index_of_anomalies_weighted_by_latitude(ds, home, calls):
    def index(d):
        sst = d["surface_temperature"]
        anomaly = (sst - sst.mean("time")) / sst.std("time")
        weights = np.cos(np.deg2rad(d.latitude))
        return anomaly.sel(longitude=slice(190, 240)).weighted(weights).mean(["latitude", "longitude"])

    xr.testing.assert_identical(index(ds.landbridge).compute(), index(home).compute())
    assert calls == ["compute"]


def test_a_whole_data_set_is_reduced(ds, home):
    found = ds.landbridge[["surface_temperature", "latitude_longitude"]].mean("time").compute()
    xr.testing.assert_identical(found, home[["surface_temperature", "latitude_longitude"]].mean("time"))


def test_what_was_left_out_at_opening_is_left_out_beside_the_data(calls, home):
    ds = served(verbs(file_source("geomar/sst.data", OSTIA)), calls, drop_variables=["time_bnds"])
    found = ds.landbridge.isel(time=0).compute()
    xr.testing.assert_identical(found, home.drop_vars("time_bnds").isel(time=0))


def test_a_value_that_was_decoded_by_its_owner_takes_chains_too(calls):
    value = xr.Dataset({"t": (("x", "y"), np.arange(6.0).reshape(2, 3))}, {"y": [1, 2, 3]})
    found = served(opens(value), calls).landbridge.t.mean("x").compute()
    xr.testing.assert_identical(found, value.t.mean("x"))


def test_arguments_of_many_types_travel(ds, home):
    first = datetime.datetime(2007, 1, 1)
    where = xr.DataArray([0.0, 2.0], dims="way", attrs={"kind": "way"})

    def chain(d):
        sst = d.surface_temperature.sel(time=slice(first, np.datetime64("2009-01-01")))
        return sst.sel(latitude=where, method="nearest").where(d.longitude > np.float32(9), np.nan).astype(np.float64)

    xr.testing.assert_identical(chain(ds.landbridge).compute(), chain(home).compute())


def test_each_step_is_written_down_once():
    far = Chain(list, ("data",), "far", ("sst",))
    sst = far.sst
    total = sst
    for _ in range(40):
        total = total + total
    assert len((total + sst)._steps()) == 43
    assert len(repr(total)) < 1000


def test_a_chain_of_too_many_steps_is_refused():
    chain = Chain(list, ("data",), "far", ("sst",)).sst
    for _ in range(5000):
        chain = chain + 1
    with pytest.raises(InvalidArguments, match="steps: 5,002 are too many"):
        chain.compute()


def test_what_xarray_raises_at_the_owner_is_raised_here(ds):
    with pytest.raises(RemoteError, match=r"sel\(…\)") as raised:
        ds.landbridge.surface_temperature.sel(latitude=77.7).compute()
    assert isinstance(raised.value, KeyError)


def test_an_array_that_is_changed_after_it_was_given_changes_nothing(ds, home):
    wanted = np.array([3, 4])
    chain = ds.landbridge.surface_temperature.isel(time=wanted)
    wanted[:] = 0
    xr.testing.assert_identical(chain.compute(), home.surface_temperature.isel(time=[3, 4]))


# --- only on what was opened --------------------------------------------------------------------------------------

OTHERS = {
    "a part": lambda ds: ds.isel(time=0),
    "a part of the same size": lambda ds: ds.isel(time=slice(None, None, -1)),
    "nothing of a dimension": lambda ds: ds.isel(bnds=[1, 0]),
    "a selection": lambda ds: ds.sel(latitude=slice(0, 9)),
    "a copy": lambda ds: ds.copy(),
    "a deep copy": lambda ds: copy.deepcopy(ds),
    "a sum": lambda ds: ds[["surface_temperature"]] + 1,
    "chunks": lambda ds: ds.chunk(time=5),
    "less": lambda ds: ds.drop_vars("time_bnds"),
    "more": lambda ds: ds.assign(other=1),
    "other attributes": lambda ds: ds.assign_attrs(title="mine"),
    "a squeezed one": lambda ds: ds.squeeze(),
    "a computed one": lambda ds: ds.compute(),
    "no data set of a colleague": lambda ds: xr.Dataset({"a": 1}),
}


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("other", OTHERS)
def test_nothing_else_than_what_was_opened_begins_a_chain(ds, other, touched):
    if touched:
        assert isinstance(ds.landbridge, Chain)
    different = OTHERS[other](ds)
    if other == "a squeezed one":
        assert different.identical(ds)
    else:
        with pytest.raises(ValueError, match=r"Begin from the one that was opened: far = landbridge\.open"):
            different.landbridge  # noqa: B018 - to look it up is the test


def replaced(ds):
    ds["surface_temperature"] = ds["surface_temperature"] * 2


def replaced_by_a_part(ds):
    ds["surface_temperature"] = ds["surface_temperature"].isel(bnds=0, missing_dims="ignore").copy()


def added(ds):
    ds["other"] = 1


def removed(ds):
    del ds["time_bnds"]


def moved(ds):
    ds["longitude"] = ds["longitude"] - 180


@pytest.mark.parametrize("change", [replaced, replaced_by_a_part, added, removed, moved])
def test_a_change_in_place_is_noticed(ds, change):
    far = ds.landbridge
    change(ds)
    with pytest.raises(ValueError, match="changed after it was opened"):
        far.surface_temperature.mean().compute()


@pytest.mark.parametrize("change", [replaced, added, removed, moved])
def test_a_change_in_place_before_the_first_chain_is_noticed(ds, change):
    change(ds)
    with pytest.raises(ValueError, match="Begin from the one that was opened"):
        ds.landbridge  # noqa: B018 - to look it up is the test


def test_what_is_loaded_later_changes_nothing(ds, home, calls):
    far = ds.landbridge
    ds.surface_temperature.load()
    found = far.surface_temperature.max().compute()
    xr.testing.assert_identical(found, home.surface_temperature.max())


def test_a_data_set_that_went_by_pickle_still_takes_chains(ds, home):
    for _ in range(2):
        ds = pickle.loads(pickle.dumps(ds))
        xr.testing.assert_identical(
            ds.landbridge.surface_temperature.min().compute(), home.surface_temperature.min().compute()
        )


def test_a_chain_outlives_the_data_set_it_began_with(calls, home):
    far = served(verbs(file_source("geomar/sst.data", OSTIA)), calls).landbridge
    xr.testing.assert_identical(far.latitude.compute(), home.latitude)


def test_other_options_of_decoding_are_not_ignored(calls):
    ds = served(verbs(file_source("geomar/sst.data", OSTIA)), calls, decode_times=False)
    with pytest.raises(ValueError, match="Open it without them"):
        ds.landbridge  # noqa: B018 - to look it up is the test


# --- how it looks -------------------------------------------------------------------------------------------------


@pytest.fixture
def far():
    return Chain(list, ("data",), "ds.landbridge", ("sst", "lat", "odd name"))


def test_a_chain_shows_itself_as_one_would_write_it(far):
    anomaly = (far["sst"] - far.sst.mean("time")) / far.sst.std("time")
    assert "(ds.landbridge.sst - ds.landbridge.sst.mean('time')) / ds.landbridge.sst.std('time')" in repr(anomaly)
    assert "np.cos(np.deg2rad(ds.landbridge.lat))" in repr(np.cos(np.deg2rad(far.lat)))
    assert "ds.landbridge['odd name'].sel(lat=slice(-5, 5, None))" in repr(far["odd name"].sel(lat=slice(-5, 5)))
    assert "-ds.landbridge.sst" in repr(-far.sst)


def test_completion_offers_what_runs_there(far):
    assert {"sst", "lat", "mean", "groupby", "compute"} <= set(dir(far))
    assert "odd name" not in dir(far)
    assert "to_netcdf" not in dir(far)
    assert set(dir(far.groupby("time.month"))) >= {"mean", "first"}
    assert "sel" not in dir(far.groupby("time.month"))
    assert far._ipython_key_completions_() == ["sst", "lat", "odd name"]


def test_signatures_are_those_of_xarray_without_what_does_not_travel(far):
    assert list(inspect.signature(far.sst.quantile).parameters) == ["q", "dim", "method", "keep_attrs", "skipna"]
    assert "Kelvin" not in far.sst.mean.__doc__
    assert "mean" in far.sst.mean.__doc__


@pytest.mark.parametrize("name", ["to_netcdf", "plot", "map_blocks", "pipe", "values", "load"])
def test_what_does_not_run_there_says_what_to_do(far, name):
    with pytest.raises(AttributeError, match=r"does not run at the owner of the data\. Call compute\(\)"):
        getattr(far.sst, name)


def test_names_that_are_nowhere_are_refused_with_what_there_is(far):
    with pytest.raises(AttributeError, match=r"there is no 'ssst' that runs .*; there are .*sst"):
        far.ssst  # noqa: B018 - to look it up is the test
    with pytest.raises(AttributeError, match=r"no 'sel' after groupby\(\)"):
        far.sst.groupby("time.month").sel  # noqa: B018 - to look it up is the test


def test_values_of_a_chain_are_not_here(far):
    for use in (bool, list, len, float, np.asarray):
        with pytest.raises(TypeError, match=r"compute\(\)"):
            use(far.sst)
    with pytest.raises(TypeError, match=r"numpy\.logaddexp does not run"):
        np.logaddexp(far.sst, far.lat)
    with pytest.raises(TypeError, match=r"numpy\.add\.reduce does not run"):
        np.add.reduce(far.sst)


def test_functions_do_not_travel(far):
    for refused in (
        lambda: far.sst.where(lambda x: x > 0),
        lambda: far.sst.fillna({"a": 1}),
        lambda: far.sst + xr.Dataset(),
        lambda: far.sst.isel(time=[far.lat]),
    ):
        with pytest.raises(CannotTravel, match="not among what operations at an owner take"):
            refused()
    with pytest.raises(TypeError, match="no 'engine'"):
        far.sst.mean(engine="flox")


def test_groups_without_a_reduction_are_not_computed(far):
    with pytest.raises(TypeError, match="with a reduction after it"):
        far.sst.groupby("time.month").compute()
