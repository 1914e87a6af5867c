"""Rounding floats: bounded errors, and everything that is no measured number stays what it is."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from landbridge.datasets.opening import open_lazily, opened
from landbridge.datasets.remote import Part
from landbridge.datasets.rounding import ROUNDED_ATTRIBUTE, bit_rounded, keepbits_by_name
from landbridge.datasets.view import DatasetView
from landbridge.errors import Malformed
from landbridge.names import Address

FLOATS = ["<f2", "<f4", "<f8", ">f4", ">f8"]
BITS = {2: 10, 4: 23, 8: 52}


@given(
    st.sampled_from(FLOATS).flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0))),
    st.integers(1, 52),
    st.lists(st.floats(allow_nan=False, width=16), max_size=2),
)
def test_rounded_values_are_near_and_short_and_the_others_are_the_same(values, keepbits, fills):
    before = values.tobytes()
    rounded = bit_rounded(values, keepbits, fills)
    assert values.tobytes() == before
    assert (rounded.dtype, rounded.shape) == (values.dtype, values.shape)
    changed = (rounded != values) & ~np.isnan(values)
    assert np.isfinite(rounded[changed]).all()
    assert np.isfinite(values[changed]).all()
    assert not np.isin(values[changed], fills).any()
    assert not np.isin(rounded[changed], fills).any()
    exact, got = values[changed].astype("f8"), rounded[changed].astype("f8")
    tiny = float(np.finfo(values.dtype).smallest_normal)
    assert (np.abs(got - exact) <= np.maximum(np.abs(exact), tiny) * 2.0 ** -(keepbits + 1)).all()
    dropped = max(BITS[values.itemsize] - keepbits, 0)
    bits = rounded[changed].astype(values.dtype.newbyteorder("=")).view(f"u{values.itemsize}")
    assert not (bits & ((1 << dropped) - 1)).any()
    # Bit by bit, the sign and payload of NaNs too; and rounded once is rounded for good.
    same = ~changed
    assert rounded[same].tobytes() == values[same].tobytes()
    assert bit_rounded(rounded, keepbits, fills).tobytes() == rounded.tobytes()


def test_it_rounds_to_the_nearest_and_ties_to_even():
    assert bit_rounded(np.array([1.0, 1.24, 1.25, 1.26, 1.75, -1.75]), 1).tolist() == [1.0, 1.0, 1.0, 1.5, 2.0, -2.0]
    assert bit_rounded(np.array(1.3, "f4"), 1) == np.float32(1.5)


def test_what_would_become_a_missing_value_or_infinite_stays():
    largest = np.finfo("f4").max
    values = np.array([-998.9, -999.0, largest, 0.1], "f4")
    # -998.9 would be -1000 with 6 bits, which stands for a missing value.
    found = bit_rounded(values, 6, [-1000.0, "no number", None, np.array([5.0, largest])])
    assert found[:3].tolist() == values[:3].tolist()
    assert found[3] != values[3]


LOCATED = ("lat2", "area", "seen", "longitude", "height")


def file() -> xr.Dataset:
    """A data set as in a file: undecoded."""
    rng = np.random.default_rng(5)
    shape, dims = (24, 40, 50), ("time", "y", "x")
    t = rng.normal(280, 5, shape).astype("f4")
    t[0, :5] = 1e20
    large = {name: (("row", "column"), rng.normal(50, 1, (200, 250))) for name in LOCATED}
    data = xr.Dataset(
        {
            "t": (dims, t, {"_FillValue": np.float32(1e20), "coordinates": "lat2 seen", "cell_measures": "a: area"}),
            "packed": (dims, np.ones(shape, "i2"), {"scale_factor": 0.1}),
            "wind": (dims, rng.normal(0, 5, shape), {"units": "m s-1"}),
            "small": (("x",), rng.normal(0, 5, 50)),
            **large,
        },
    )
    data["longitude"].attrs["units"] = "degrees_east"
    data["seen"].attrs["units"] = "days since 2000-01-01"
    data["height"].attrs["axis"] = "Z"
    return data


class Owner:
    """Answers as an owner does, and notes what it is asked."""

    address = Address("geomar", "sst", "data")

    def __init__(self, dataset: xr.Dataset, *, raw: bool = True) -> None:
        self.view = DatasetView(dataset, "1", raw=raw)
        self.asked: list[list] = []

    def open(self):
        return self.view.open()

    def select(self, version, wanted: list[Part]) -> None:
        self.asked += [part.travelling() for part in wanted]
        for position, start, block in self.view.select(self.asked[-len(wanted) :]):
            place = tuple(slice(low, low + n) for low, n in zip(start, block.shape, strict=True))
            wanted[position].into[place] = block

    def __dask_tokenize__(self):
        return (id(self),)


def test_nothing_is_rounded_unless_it_is_asked_for():
    owner = Owner(file())
    found = open_lazily(opened(owner)).load()
    assert [len(each) for each in owner.asked] == [2] * len(owner.asked) != []
    xr.testing.assert_identical(found, xr.decode_cf(file()).load())


def test_data_are_rounded_and_what_says_where_they_are_is_not():
    exact = xr.decode_cf(file()).load()
    found = open_lazily(opened(Owner(file())), 7).load()
    rounded = {name for name in found.variables if ROUNDED_ATTRIBUTE in found[name].attrs}
    assert rounded == {"t", "wind"}
    assert all(found[name].attrs[ROUNDED_ATTRIBUTE] == 7 for name in rounded)
    xr.testing.assert_identical(found.drop_vars(rounded), exact.drop_vars(rounded))
    np.testing.assert_allclose(found.t, exact.t, rtol=2**-8)
    assert not found.t.identical(exact.t)
    assert int(found.t.isnull().sum()) == 5 * 50
    assert len(zlib.compress(found.wind.values)) < 0.4 * len(zlib.compress(exact.wind.values))


def test_some_variables_are_rounded_by_name():
    owner = Owner(file())
    found = open_lazily(opened(owner), {"wind": np.int64(5), "small": 2, "t": 23}).load()
    assert found.wind.attrs == {"units": "m s-1", ROUNDED_ATTRIBUTE: 5}
    assert [each[2] for each in owner.asked if len(each) == 3] == [5]
    xr.testing.assert_identical(found.drop_vars("wind"), xr.decode_cf(file()).load().drop_vars("wind"))


def test_what_is_rounded_can_be_selected_and_pickles_apart_from_what_is_exact():
    owner = Owner(file())
    found = open_lazily(opened(owner), 7)
    part = found.wind.isel(time=3, x=[1, 7]).load()
    np.testing.assert_array_equal(part, bit_rounded(file().wind.values, 7)[3][:, [1, 7]])
    exact = open_lazily(opened(owner)).wind.variable._data
    assert _remote(found.wind.variable._data).__dask_tokenize__() != _remote(exact).__dask_tokenize__()


def _remote(data):
    while not hasattr(data, "__dask_tokenize__") or not hasattr(data, "keepbits"):
        data = data.array
    return data


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (0, "keepbits is 0; it must be a whole number from 1 to 52"),
        (53, "keepbits is 53"),
        (True, "keepbits is True"),
        (7.0, r"keepbits is 7\.0"),
        ("7", "keepbits is '7'"),
        ({"wind": None}, r"keepbits\['wind'\] is None"),
        ({"winds": 7}, "no variable 'winds'; was 'wind' meant"),
        ({7: 7}, "no variable 7"),
        ({"packed": 7}, "'packed' holds int16, and only floats can be rounded"),
        ({"lat2": 7, "area": 7}, "'lat2' is a coordinate, or belongs to one.*'area' is a coordinate"),
        ({"x" * 10**6: 7}, "no variable 'xxx"),
    ],
)
def test_what_cannot_be_rounded_is_told_when_it_is_asked_for(asked, said):
    with pytest.raises(ValueError, match=said) as caught:
        open_lazily(opened(Owner(file())), asked)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("keepbits", [0, -1, 53, 2**70, True, None, 7.0, "7", [7]])
def test_strangers_cannot_have_an_owner_round_by_what_is_no_number_of_bits(keepbits):
    with pytest.raises(Malformed, match="how many bits"):
        DatasetView(file(), "1", raw=True).select([["wind", ["outer", [0, 0, 0]], keepbits]])


def test_what_is_no_float_arrives_exactly_whatever_is_asked():
    data = xr.Dataset({"n": ("x", np.arange(50_000)), "s": ("x", np.array(["a"] * 50_000, dtype=object))})
    for name in data:
        ((_, _, block),) = DatasetView(data, "1", raw=False).select([[name, ["outer", [slice(None)]], 3]])
        np.testing.assert_array_equal(block, data[name])


def test_decoded_data_know_their_coordinates():
    data = xr.Dataset(
        {"a": ("x", np.linspace(0, 1, 20_000))},
        coords={"x": np.linspace(0, 1, 20_000), "q": ("x", np.linspace(0, 1, 20_000))},
    )
    assert keepbits_by_name(5, data.variables, data.coords, {}) == {"a": 5}
    found = open_lazily(opened(Owner(data, raw=False)), 5).load()
    xr.testing.assert_identical(found.drop_vars("a"), data.drop_vars("a"))
    assert np.unique(found.a).size < 1000


def test_a_written_copy_says_how_it_was_rounded(tmp_path):
    open_lazily(opened(Owner(file())), 7)[["wind"]].to_netcdf(tmp_path / "copy.nc")
    with xr.open_dataset(tmp_path / "copy.nc") as copy:
        assert copy.wind.attrs[ROUNDED_ATTRIBUTE] == 7
