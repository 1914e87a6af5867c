"""Chains that are evaluated beside the data give what the same chain gives at home, or fail as it fails there."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from landbridge.datasets.vocabulary import BINARY, OPERATIONS, UNARY
from landbridge.errors import InvalidArguments
from unit.datasets.chains import EXAMPLES, close, measured, recorder

# Of NumPy and xarray on odd numbers, at home as beside the data.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::FutureWarning")


@pytest.fixture
def doubles():
    return measured()


def example_id(number):
    return f"example {number}"


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=example_id)
def test_a_chain_gives_what_xarray_gives(doubles, number):
    example = EXAMPLES[number]
    home = example(doubles)
    found = example(recorder(doubles)).compute()
    close(found, home)
    xr.testing.assert_identical(found, home)


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=example_id)
def test_a_chain_gives_in_chunks_what_it_gives_in_memory(doubles, number):
    example = EXAMPLES[number]
    in_chunks = doubles.chunk(time=20, lon=40)
    close(example(recorder(in_chunks, limit_bytes=7_000_000)).compute(), example(doubles))


def test_every_operation_has_an_example(doubles):
    seen = []

    for each in EXAMPLES:
        far = each(recorder(doubles))
        steps = far._steps()
        kinds = []
        for step in steps:
            kind = "data"
            if step[0] == "call":
                kind = kinds[step[1]["node"]]
                seen.append((kind, step[2]))
                kind = OPERATIONS[kind][step[2]].gives
            elif step[0] in ("unary", "op"):
                seen.append((step[0], step[1]))
            kinds.append(kind)
    wanted = {(kind, name) for kind, table in OPERATIONS.items() for name in table}
    wanted |= {("unary", name) for name in UNARY} | {("op", name) for name in BINARY}
    assert wanted - set(seen) == set()


# --- any chain ----------------------------------------------------------------------------------------------------

STEPS = [
    lambda x: x.mean("time"),
    lambda x: x.max("lat"),
    lambda x: x.std(["lat", "lon"]),
    lambda x: x.sum(),
    lambda x: x.isel(time=slice(None, None, 7)),
    lambda x: x.isel(lon=[5, 3, 3]),
    lambda x: x.sel(lat=slice(-4, 3)),
    lambda x: x.sel(lat=0.2, method="nearest"),
    lambda x: x.sel(time="2008"),
    lambda x: x - x.mean("time"),
    lambda x: x / x.max(),
    lambda x: x.where(x > x.mean()),
    lambda x: abs(x) ** 0.5,
    lambda x: np.log1p(abs(x)),
    lambda x: x.fillna(1.0),
    lambda x: x.clip(0, 2),
    lambda x: x.diff("lon"),
    lambda x: x.shift(time=2),
    lambda x: x.rolling(time=3).mean(),
    lambda x: x.coarsen(lon=3, boundary="trim").max(),
    lambda x: x.groupby("time.month").mean("time"),
    lambda x: x.groupby("time.month") - x.groupby("time.month").mean("time"),
    lambda x: x.resample(time="QS").mean(),
    lambda x: x.quantile(0.3, "lon"),
    lambda x: x.weighted(np.cos(np.deg2rad(x["lat"]))).mean("lat"),
    lambda x: x.sortby("lon", ascending=False),
    lambda x: x.interp(lat=[0.0, 1.0]),
    lambda x: x.cumsum("lat"),
    lambda x: x.transpose("lon", ...),
    lambda x: x.isnull(),
    lambda x: -x > 0,
    lambda x: x.astype("float32"),
    lambda x: x.rename(lat="y").rename(y="lat"),
    lambda x: x.idxmax("time"),
]


def outcome(work):
    """Return what `work` gives, or the builtin errors that it raises."""
    try:
        return work()
    except InvalidArguments:
        return Exception
    except Exception as error:
        return tuple(cls for cls in type(error).__mro__ if cls.__module__ == "builtins")


@settings(max_examples=80, deadline=None)
@example([4, 4, 18])  # a window that is longer than what is left
@example([29, 17, 0])
@given(st.lists(st.sampled_from(range(len(STEPS))), min_size=1, max_size=6))
def test_any_chain_gives_what_it_gives_at_home_or_fails_as_it_fails_there(chosen):
    doubles = measured()
    objects = []

    def chain(data):
        for number in chosen:
            data = STEPS[number](data)
            objects.append(isinstance(data, xr.DataArray) and data.dtype == object)
        return data

    at_home = outcome(lambda: chain(doubles.sst))
    beside = outcome(lambda: chain(recorder(doubles).sst).compute())
    if any(objects) and beside is Exception:
        return  # shifted booleans are Python objects, which are not calculated with
    if isinstance(at_home, xr.DataArray):
        xr.testing.assert_identical(beside, at_home)
    else:
        assert not isinstance(beside, xr.DataArray)
