"""Chains that no reader would write: refused with a typed error, before they take memory or time."""

import copy
import datetime
import importlib.util
import tracemalloc
from random import Random

import dask.array
import iris_sample_data
import numpy as np
import pytest
import xarray as xr

from landbridge.datasets.bounded import Memory
from landbridge.datasets.operations import evaluate
from landbridge.datasets.vocabulary import BINARY, OPERATIONS, UNARY
from landbridge.errors import CallTimeout, InvalidArguments, LandbridgeError, Malformed, RemoteError, TooLarge
from unit.datasets.chains import EXAMPLES, close, measured, nothing, recorder, run

# Of NumPy and xarray on odd numbers, at home as beside the data.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::FutureWarning")


@pytest.fixture
def doubles():
    return measured()


N0, N1 = {"node": 0}, {"node": 1}
SST = ["get", N0, "sst"]


@pytest.mark.parametrize(
    "expression",
    [
        None,
        [],
        {},
        "data",
        [None],
        [[]],
        [["data", 1]],
        [["date"]],
        [["get", N0, "sst"]],
        [["data"], ["get", {"node": 1}, "sst"]],
        [["data"], ["get", {"node": -1}, "sst"]],
        [["data"], ["get", {"node": True}, "sst"]],
        [["data"], ["get", {"node": 0, "more": 1}, "sst"]],
        [["data"], ["get", 0, "sst"]],
        [["data"], ["call", N0, "mean", {}, []]],
        [["data"], ["call", N0, "mean", [], {1: 2}]],
        [["data"], ["op", "+", 1, 2]],
        [["data"], ["unary", 5, N0]],
        [["data"], SST, ["call", N1, "groupby", ["time.month"], {}]],
    ],
)
def test_what_is_no_chain_is_malformed(doubles, expression):
    with pytest.raises(Malformed):
        evaluate(doubles, expression, limit_bytes=10**7, check=nothing)


@pytest.mark.parametrize(
    "step",
    [
        ["call", N1, "to_netcdf", ["stolen.nc"], {}],
        ["call", N1, "__reduce__", [], {}],
        ["call", N1, "reduce", [], {}],
        ["call", N1, "map_blocks", [], {}],
        ["call", N1, "pipe", ["print"], {}],
        ["call", N1, "mean", [], {"engine": "flox"}],
        ["call", N1, "mean", [], {"out": 1}],
        ["call", N1, "mean", ["time"], {"dim": "time"}],
        ["call", N1, "mean", [], {"skipna": "yes"}],
        ["call", N1, "mean", [["time", 3]], {}],
        ["call", N1, "astype", ["object"], {}],
        ["call", N1, "astype", ["O"], {}],
        ["call", N1, "astype", ["U1000000"], {}],
        ["call", N1, "dt", ["__class__"], {}],
        ["call", N1, "dt", ["strftime"], {}],
        ["get", N1, "__class__"],
        ["get", N1, "time.__class__"],
        ["get", N1, "time.tolist"],
        ["get", N1, "nowhere.month"],
        ["get", N1, ["sst"]],
        ["get", N1, 7],
        ["get", N1, None],
        ["call", N1, "groupby", ["time.__class__"], {}],
        ["call", N1, "groupby", ["lat.values"], {}],
        ["call", N1, "resample", [], {"time": "1 day; import os"}],
        ["call", N1, "resample", [], {"time": "9999999999D"}],
        ["call", N1, "resample", [], {"lat": "1D"}],
        ["call", N1, "rolling", [], {"time": 0}],
        ["call", N1, "rolling", [], {"time": 10**9}],
        ["call", N1, "coarsen", [], {"time": 10**9, "boundary": "pad"}],
        ["call", N1, "interp", [], {"lat": [0.0], "method": "krogh"}],
        ["call", N1, "interp", [], {"lat": [0.0], "kwargs": {"fill_value": "extrapolate"}}],
        ["call", N1, "diff", ["time"], {"n": 10**9}],
        ["call", N1, "sel", [], {"nowhere": 1}],
        ["call", N1, "sel", [], {"lat": [[1.0]]}],
        ["call", N1, "sel", [], {"lat": np.array([[1.0]])}],
        ["call", N1, "sel", [], {"lat": np.array([{}], dtype=object)}],
        ["call", N1, "isel", [], {"lat": "0"}],
        ["call", N1, "isel", [], {"lat": slice("a", "b")}],
        ["call", N1, "quantile", [[[0.5]]], {}],
        ["call", N1, "quantile", [np.linspace(0, 1, 100_000)], {}],
        ["call", N1, "where", [{"a": 1}], {}],
        ["call", N1, "fillna", [b"bytes"], {}],
        ["call", N1, "fillna", [10**400], {}],
        ["call", N1, "weighted", [3.0], {}],
        ["call", N1, "rename", [7], {}],
        ["call", N1, "rename", [], {"nowhere": "x"}],
        ["call", N1, "sortby", ["nowhere"], {}],
        ["op", "<<", N1, 3],
        ["op", "__class__", N1, 3],
        ["op", "logaddexp", N1, 3],
        ["op", "+", N1, "text"],
        ["op", "+", N1, None],
        ["op", "*", N1, np.zeros((1000, 1, 1, 1))],
        ["op", "**", N1, 10**1000],
        ["unary", "eval", N1],
        ["unary", "frompyfunc", N1],
    ],
)
def test_what_is_in_no_table_is_refused(doubles, step):
    with pytest.raises(LandbridgeError) as raised:
        run(doubles, ["data"], SST, step, ["call", {"node": 2}, "mean", [], {}], limit_bytes=10**8)
    assert isinstance(raised.value, (InvalidArguments, RemoteError, TooLarge))


LONG = np.zeros(100_000, dtype=int)


@pytest.mark.parametrize(
    "steps",
    [
        [["call", N1, "isel", [], {"time": LONG, "lat": LONG}]],
        [["call", N1, "sel", [], {"lat": np.full(10**6, -5.0), "method": "nearest"}]],
        [["call", N1, "isel", [], {"time": xr.DataArray(np.zeros((3000, 3000), int), dims=["a", "b"])}]],
        [["call", N1, "interp", [], {"lat": np.linspace(-5, 5, 100_000), "lon": np.linspace(0, 90, 100_000)}]],
        [["op", "+", N1, xr.DataArray(np.zeros(100_000), dims="other")]],
        [["call", N1, "where", [xr.DataArray(np.ones(100_000, bool), dims="other")], {}]],
        [["call", N1, "weighted", [xr.DataArray(np.ones(100_000), dims="other")], {}]],
        [["call", N1, "dot", [xr.DataArray(np.ones((18, 100_000)), dims=["lat", "other"])], {"dim": "lat"}]],
        [["call", N1, "resample", [], {"time": "1ns"}]],
        [["call", N1, "resample", [], {"time": "1D"}], ["call", {"node": 2}, "mean", [], {}]],
        [["call", N1, "rolling", [], {"time": 50, "lon": 100}], ["call", {"node": 2}, "mean", [], {}]],
    ],
)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_what_would_take_too_much_memory_is_refused_before_it_is_taken(doubles, steps, in_chunks):
    dataset = doubles.chunk(time=20, lon=40) if in_chunks else doubles
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            run(dataset, ["data"], SST, *steps, limit_bytes=7_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 40_000_000


def test_values_that_are_kept_count_together(doubles):
    steps = [["data"], SST, *(["op", "+", {"node": 1}, number] for number in range(10))]
    total = [["op", "+", {"node": 2}, {"node": 3}]]
    for position in range(4, 12):
        total.append(["op", "+", {"node": 11 + len(total)}, {"node": position}])
    with pytest.raises(TooLarge, match=r"beside .* bytes that are in use"):
        run(doubles, *steps, *total, limit_bytes=5 * doubles.sst.nbytes)
    close(run(doubles, *steps, *total, limit_bytes=14 * doubles.sst.nbytes), doubles.sst * 10 + 45)


def test_a_deep_chain_is_evaluated_without_recursion(doubles):
    steps = [["data"], SST, *(["op", "+", {"node": position}, 1] for position in range(1, 999))]
    close(run(doubles, *steps), doubles.sst + 998)
    with pytest.raises(InvalidArguments, match="steps: 1,001 are too many"):
        run(doubles, *steps, ["op", "+", {"node": 999}, 1])


def test_a_deep_chain_in_chunks_is_evaluated_without_recursion(doubles):
    steps = [["data"], SST, *(["op", "+", {"node": position}, 1] for position in range(1, 998))]
    last = ["call", {"node": 998}, "mean", [], {}]
    close(run(doubles.chunk(time=20), *steps, last, limit_bytes=7_000_000), (doubles.sst + 997).mean())


def test_a_chain_is_ended_between_chunks(doubles):
    looked = []

    def check():
        looked.append(1)
        if len(looked) > 20:
            raise CallTimeout("geomar/sst.data", 600, by_owner=True)

    with pytest.raises(CallTimeout):
        run(
            doubles.chunk(time=1), ["data"], SST, ["call", N1, "mean", ["time"], {}], limit_bytes=7_000_000, check=check
        )
    assert 20 < len(looked) < 60


def test_the_data_set_itself_stays_as_it_was(doubles):
    before = doubles.copy(deep=True)
    month = ["call", N1, "groupby", ["time.month"], {}]
    run(
        doubles,
        ["data"],
        SST,
        month,
        ["call", {"node": 2}, "mean", ["time"], {}],
        ["op", "-", {"node": 2}, {"node": 3}],
    )
    xr.testing.assert_identical(doubles, before)


def test_without_dask_what_does_not_fit_names_what_to_install(doubles, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with xr.open_dataset(f"{iris_sample_data.path}/ostia_monthly.nc") as lazy:
        mean = [["data"], ["get", N0, "surface_temperature"], ["call", N1, "mean", ["time"], {}]]
        with pytest.raises(TooLarge, match=r"pip install 'landbridge\[dask\]'"):
            run(lazy, *mean, limit_bytes=1_000_000)
        xr.testing.assert_identical(run(lazy, *mean, limit_bytes=10_000_000), lazy.surface_temperature.mean("time"))


def objects(*values):
    """Return an array of Python's objects."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


CALCULATING = [
    *[
        (name, {})
        for name in ("sum", "prod", "mean", "std", "var", "median", "any", "all", "argmax", "idxmin", "round")
    ],
    *[(name, {"dim": "way"}) for name in ("cumsum", "cumprod", "diff")],
    ("quantile", {"q": 0.5}),
    ("differentiate", {"coord": "name"}),
    ("integrate", {"coord": "name"}),
    ("interp", {"way": [0.5]}),
    ("clip", {"min": "a"}),
    ("dot", {"other": {"node": 2}}),
    ("weighted", {"weights": xr.DataArray([1.0, 2.0], dims="way")}),
]


@pytest.mark.parametrize(("method", "keywords"), CALCULATING, ids=[name for name, _ in CALCULATING])
@pytest.mark.parametrize(
    "text", [objects("a", "b"), np.array(["a", "b"]), np.array(["a", "b"], np.dtypes.StringDType())]
)
def test_nothing_calculates_with_text(doubles, method, keywords, text):
    named = ["call", N0, "assign_coords", [], {"name": xr.DataArray(text, dims="way")}]
    with pytest.raises(LandbridgeError) as raised:
        run(doubles, ["data"], named, ["get", N1, "name"], ["call", {"node": 2}, method, [], keywords])
    if method == "interp":  # xarray's own words
        assert isinstance(raised.value, TypeError)
    else:
        assert isinstance(raised.value, InvalidArguments)
        assert f"{method} does not work on 'name'" in str(raised.value)


@pytest.mark.parametrize("prepare", [("rolling", {"way": 2}), ("coarsen", {"way": 2}), ("groupby", {"group": "way"})])
@pytest.mark.parametrize("method", ["sum", "prod", "median"])
def test_nothing_calculates_with_text_in_groups_and_windows(prepare, method):
    names = xr.DataArray(["a", "b"], dims="way", coords={"way": [1, 2]}, name="name").astype(object)
    with pytest.raises(InvalidArguments, match=f"{method} does not work on 'name'"):
        run(
            names.to_dataset(),
            *[["data"], ["get", N0, "name"], ["call", N1, prepare[0], [], prepare[1]]],
            ["call", {"node": 2}, method, [], {}],
        )


def test_text_is_selected_counted_sorted_and_compared():
    stations = xr.Dataset({"name": ("station", objects("c", "a", None)), "height": ("station", [3.0, 1.0, 2.0])})
    far = recorder(stations)
    xr.testing.assert_identical(far.name.isel(station=[1, 0]).compute(), stations.name.isel(station=[1, 0]))
    xr.testing.assert_identical(far.name.count().compute(), stations.name.count())
    xr.testing.assert_identical(far.name.isnull().compute(), stations.name.isnull())
    xr.testing.assert_identical(far.name.isin(["a"]).compute(), stations.name.isin(["a"]))
    xr.testing.assert_identical((far.name == "a").compute(), stations.name == "a")
    first = stations.isel(station=[0, 1])
    xr.testing.assert_identical(recorder(first).name.max().compute(), first.name.max())
    xr.testing.assert_identical(recorder(first).sortby("name").compute(), first.sortby("name"))


def test_reductions_of_a_data_set_leave_out_its_text():
    stations = xr.Dataset({"name": ("station", objects("c", "a")), "height": ("station", [3.0, 1.0])})
    xr.testing.assert_identical(recorder(stations).mean("station").compute(), stations.mean("station"))
    xr.testing.assert_identical(recorder(stations).cumsum("station").compute(), stations.cumsum("station"))


@pytest.mark.parametrize("value", [2**62, 2**4000, [1], True, {}])
def test_a_chain_brings_no_objects_but_text(doubles, value):
    brought = xr.DataArray(objects("a", value), dims="way")
    with pytest.raises(InvalidArguments, match=f"holds a {type(value).__name__} among Python objects"):
        run(doubles, ["data"], ["call", N0, "assign_coords", [], {"q": brought}], ["get", N1, "q"])
    with pytest.raises(InvalidArguments, match="among Python objects"):
        run(doubles, ["data"], SST, ["op", "==", N1, brought])


def test_dot_sums_along_dimensions_of_both_arrays():
    apart = xr.Dataset({"u": ("t", np.ones(30)), "v": ("s", np.ones(40))})
    steps = [["data"], ["get", N0, "u"], ["get", N0, "v"]]
    for dims in (..., ["t", "s"], "s", ["t", ...]):
        with pytest.raises(InvalidArguments, match="is not a dimension of both arrays"):
            run(apart, *steps, ["call", N1, "dot", [{"node": 2}], {"dim": dims}])
    close(run(apart, *steps, ["call", N1, "dot", [N1], {"dim": ...}]), apart.u.dot(apart.u, dim=...))


@pytest.mark.parametrize("dims", [None, "t"])
def test_dot_of_too_many_products_is_refused(dims):
    pair = xr.Dataset(
        {
            "u": (("t", "a"), np.broadcast_to(1.0, (20_001, 2_500))),
            "v": (("t", "b"), np.broadcast_to(1.0, (20_001, 2_000))),
        }
    )
    steps = [["data"], ["get", N0, "u"], ["get", N0, "v"], ["call", N1, "dot", [{"node": 2}], {"dim": dims}]]
    with pytest.raises(TooLarge, match="dot multiplies 100,005,000,000 pairs"):
        run(pair, *steps)


WIDE = xr.Dataset(
    {"a": (("x", "y"), np.zeros((4, 50_000))), "weight": ("x", np.ones(4))},
    coords={
        "half": ("x", [0, 0, 1, 1]),
        "x": np.datetime64("2000-01-01", "ns") + np.arange(4) * np.timedelta64(1, "D"),
    },
)
MANY = np.linspace(0, 1, 100)


@pytest.mark.parametrize("skipna", [True, False])
@pytest.mark.parametrize(
    "steps",
    [
        [["call", N1, "quantile", [MANY, "x"], {}]],
        [["call", N1, "groupby", ["half"], {}], ["call", {"node": 2}, "quantile", [MANY], {}]],
        [["call", N1, "groupby", ["half"], {}], ["call", {"node": 2}, "quantile", [MANY, "x"], {}]],
        [["call", N1, "resample", [], {"x": "2D"}], ["call", {"node": 2}, "quantile", [MANY], {}]],
        [
            ["get", N0, "weight"],
            ["call", N1, "weighted", [{"node": 2}], {}],
            ["call", {"node": 3}, "quantile", [MANY, "x"], {}],
        ],
    ],
)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_many_quantiles_are_refused_before_they_take_memory(steps, skipna, in_chunks):
    steps = copy.deepcopy(steps)
    steps[-1][4]["skipna"] = skipna
    dataset = WIDE.chunk(y=10_000) if in_chunks else WIDE
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=r"quantiles would take memory"):
            run(dataset, ["data"], ["get", N0, "a"], *steps, limit_bytes=30_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 30_000_000


@pytest.mark.parametrize("skipna", [True, False, None])
def test_quantiles_that_are_given_take_no_more_than_the_limit(skipna):
    limit_bytes = 60_000_000
    steps = [["data"], ["get", N0, "a"], ["call", N1, "quantile", [MANY[:25], "x"], {"skipna": skipna}]]
    tracemalloc.start()
    try:
        found = run(WIDE, *steps, limit_bytes=limit_bytes)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.sizes == {"quantile": 25, "y": 50_000}
    assert peak_bytes < limit_bytes


def test_an_outcome_beyond_the_limit_is_refused_even_if_it_was_not_foreseen():
    memory = Memory(1_000_000, nothing)
    fits = xr.DataArray(np.zeros(125_000))
    assert memory.settled(fits, compute=True) is fits
    with pytest.raises(TooLarge, match="gave more than there is memory for"):
        memory.settled(xr.DataArray(np.zeros(125_001)), compute=True)


def test_variables_without_the_dimension_may_be_text():
    stations = xr.Dataset({"name": ("station", objects("c", "a")), "level": ("time", [3.0, 1.0, 7.0])}).assign_coords(
        time=[0.0, 1.0, 2.0]
    )
    far = recorder(stations)
    xr.testing.assert_identical(far.diff("time").compute(), stations.diff("time"))
    xr.testing.assert_identical(far.quantile(0.5, "time").compute(), stations.quantile(0.5, "time"))
    xr.testing.assert_identical(far.rolling(time=2).sum().compute(), stations.rolling(time=2).sum())
    xr.testing.assert_identical(far.differentiate("time").compute(), stations.differentiate("time"))


def test_a_long_chain_over_many_chunks_is_refused():
    large = xr.Dataset(
        {"a": (("x", "y"), dask.array.zeros((20_000, 100_000), chunks=(1_000, 100)))}
    )  # 16 GB in 20,000 chunks
    steps = [["data"], ["get", N0, "a"]]
    steps += [["op", "+", {"node": position}, 1.0] for position in range(1, 60)]
    with pytest.raises(TooLarge, match=r"would take 1,[0-9]{3},[0-9]{3} steps in its chunks, of at most 1,000,000"):
        run(large, *steps, ["call", {"node": 60}, "max", [], {}], check=looked_at(100))


def looked_at(times):
    """Return a check that ends the work after it was called some times."""
    left = iter(range(times))

    def check():
        if next(left, None) is None:
            raise CallTimeout("geomar/sst.data", 600, by_owner=True)

    return check


HOSTILE = [
    None, True, -1, 0, 1, 10**9, -(2**63), 2**64, 10**30, 0.5, float("nan"), float("inf"), 1e308, "", "time", "sst",
    "time.month", "time.__class__", "__class__", "x" * 5000, "9999D", "1ns", "object", b"x", ..., slice(None),
    slice(None, None, 0), slice(1, 10**12, -3), [], ["time", "time"], ["lat", "lon", "time"], [0] * 10_000, {},
    {"node": 0}, {"node": 1}, {"node": 2}, {"node": 10**6}, {"node": "0"}, (), np.zeros(0), np.zeros((3, 3)),
    np.array("2008", "M8[s]"), np.array([None], object), np.datetime64("NaT"), np.timedelta64(3, "D"), np.float32(3),
    np.array(["a", "b"]),
    xr.DataArray([1.0, 2.0], dims="lat"), xr.DataArray([0, 1], dims="new"),
    xr.DataArray(np.ones((18, 18)), dims=["lat", "k"]),
    xr.DataArray([1.0], dims="time", coords={"time": [np.datetime64("2008", "ns")]}), xr.DataArray(5),
    xr.DataArray(np.array(["a"], object), dims="lat"), xr.Dataset({"sst": 1}), datetime.datetime(2008, 1, 1), 1j,
]  # fmt: skip
METHODS = sorted({name for table in OPERATIONS.values() for name in table})
KEYWORDS = sorted(
    {key for table in OPERATIONS.values() for each in table.values() for key in each.parameters}
    | {"time", "lat", "lon", "sst", "nowhere", ""}
)


def mutated(steps, random):
    """Return steps with something else in one to three places."""
    steps = copy.deepcopy(steps)
    for _ in range(random.randint(1, 3)):
        step = random.choice(steps)
        kind = random.randint(0, 7)
        if step[0] == "call" and kind < 6 and isinstance(step[3], list) and isinstance(step[4], dict):
            if kind == 0 and step[3]:
                step[3][random.randrange(len(step[3]))] = random.choice(HOSTILE)
            elif kind == 1:
                step[3].append(random.choice(HOSTILE))
            elif kind == 2:
                step[4][random.choice(KEYWORDS)] = random.choice(HOSTILE)
            elif kind == 3 and step[4]:
                step[4][random.choice(list(step[4]))] = random.choice(HOSTILE)
            else:
                step[2] = random.choice(METHODS)
        elif kind == 6:
            steps.insert(random.randrange(len(steps) + 1), copy.deepcopy(random.choice(steps)))
        elif len(step) > 1:
            step[random.randrange(1, len(step))] = random.choice([*HOSTILE, *BINARY, *UNARY])
    return steps


@pytest.mark.filterwarnings("ignore")  # whatever libraries say of damaged chains
@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_damaged_chains_give_values_or_typed_errors(doubles, seed, in_chunks):
    random = Random(seed)
    dataset = doubles.chunk(time=20, lon=40) if in_chunks else doubles
    chains = [example(recorder(doubles))._steps() for example in EXAMPLES]
    ended = {"value": 0, "error": 0}
    for _ in range(150):
        steps = mutated(random.choice(chains), random)
        try:
            found = evaluate(dataset, steps, limit_bytes=7_000_000, check=nothing)
        except LandbridgeError:
            ended["error"] += 1
        else:
            assert isinstance(found, (xr.DataArray, xr.Dataset))
            ended["value"] += 1
    assert min(ended.values()) > 10
