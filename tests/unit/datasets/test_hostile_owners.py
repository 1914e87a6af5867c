"""What owners may send to readers of their data sets without harm: nothing is believed that was not seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from landbridge.datasets.opening import open_lazily, opened
from landbridge.datasets.remote import fill
from landbridge.datasets.selection import Selection, blocks
from landbridge.errors import DatasetChanged, LandbridgeError, Malformed
from landbridge.names import Address

OWNER = "gfz/evil.data"


# --- blocks -------------------------------------------------------------------------------------------------------


def sent(*boxes):
    return iter([[position, list(start), np.ones(shape)] for position, start, shape in boxes])


def test_a_block_that_comes_twice_does_not_stand_for_one_that_never_comes():
    with pytest.raises(Malformed, match="comes twice"):
        fill([np.empty(8)], sent((0, [0], (4,)), (0, [0], (4,))), OWNER)


def test_blocks_that_never_end_are_refused_as_soon_as_all_is_there():
    taken = iter(range(1000))  # as good as endless
    endless = ([0, [0], np.zeros(8)] for _ in taken)
    with pytest.raises(Malformed):
        fill([np.empty(8)], endless, OWNER)
    assert next(taken) == 2


def test_empty_blocks_are_refused():
    for array in (np.empty(8), np.empty(0), np.empty((3, 0))):
        with pytest.raises(Malformed):
            fill([array], sent(*[(0, [0] * array.ndim, (0,) * array.ndim)] * 3), OWNER)


def test_missing_blocks_are_refused():
    with pytest.raises(Malformed, match="fewer elements"):
        fill([np.empty(8), np.empty(())], sent((0, [0], (8,))), OWNER)
    with pytest.raises(Malformed, match="fewer elements"):
        fill([np.empty((2, 8))], sent((0, [0, 0], (2, 4))), OWNER)


def test_blocks_of_two_selections_may_alternate():
    arrays = [np.zeros((2, 4)), np.zeros(()), np.zeros((0, 3))]
    fill(arrays, sent((0, [0, 0], (2, 1)), (1, [], ()), (0, [0, 1], (2, 3))), OWNER)
    assert all(array.all() for array in arrays)


shapes = st.lists(st.integers(1, 5), max_size=3).map(tuple)


@given(shapes, st.integers(1, 40), st.data())
def test_the_blocks_that_are_cut_at_an_owner_fill_a_result(shape, limit, data):
    chunks = tuple(data.draw(st.integers(1, size)) for size in shape)
    key = ["outer", [slice(None, None, data.draw(st.sampled_from([1, 2, -1]))) for _ in shape]]
    selection = Selection.parse(key, shape)
    found = np.zeros(selection.shape)
    fill([found], sent(*((0, start, part.shape) for start, part in blocks(selection, 1, limit, chunks))), OWNER)
    assert found.all()


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.data())
def test_whatever_blocks_come_all_elements_are_there_or_it_is_said(shape, data):
    part = [st.sampled_from([(low, n) for low in range(size) for n in range(1, size - low + 1)]) for size in shape]
    boxes = data.draw(st.lists(st.tuples(*part), max_size=8))
    found = np.zeros(shape)
    try:
        fill([found], sent(*((0, [low for low, _ in each], [n for _, n in each]) for each in boxes)), OWNER)
    except Malformed:
        return
    assert found.all()
    assert sum(math.prod(n for _, n in each) for each in boxes) == found.size


# --- what is opened -----------------------------------------------------------------------------------------------


class Owner:
    """Says of a data set what it likes; its elements are all 1."""

    address = Address("gfz", "evil", "data")

    def __init__(self, **said):
        whole = {"version": "1", "raw": True, "dataset": xr.Dataset(), "lazy": [], "variables": [], "coords": []}
        self._said = {**whole, **said}

    def open(self):
        return self._said

    def select(self, version, wanted):
        for part in wanted:
            part.into[...] = 1

    def __dask_tokenize__(self):
        return ("evil",)


def owner_of_one(name="a", dims=("x",), shape=(3,), dtype="f8", attrs=None, encoding=None, chunks=None, **said):
    lazy = [name, list(dims), list(shape), np.dtype(dtype), attrs or {}, encoding or {}, chunks]
    return Owner(lazy=[lazy], **{"variables": [name], **said})


HOSTILE = {
    "a variable that cannot be hashed": Owner(variables=[[]]),
    "a coordinate that cannot be hashed": Owner(coords=[[]]),
    "a lazy variable that cannot be hashed": owner_of_one(name=([],)),
    "a name that is no plain value": owner_of_one(name=range(3)),
    "a variable twice": owner_of_one(variables=["a", "a"]),
    "a dimension that cannot be hashed": owner_of_one(dims=([],)),
    "a number as dimension of a file": owner_of_one(dims=(1,)),
    "a length that no array has": owner_of_one(dims=("x", "y"), shape=(0, 2**80)),
    "a length beyond any memory": owner_of_one(dims=("x", "y"), shape=(0, 2**62)),
    "characters that make a text without end": owner_of_one(dims=("x", "y"), shape=(1, 2**40), dtype="S1"),
    "units that name no date": owner_of_one(attrs={"units": "days since 0000-99-99"}),
    "a calendar that is none": owner_of_one(attrs={"units": "days since 2000-01-01", "calendar": "none"}),
    "a scale that is a list": owner_of_one(attrs={"scale_factor": [1, 2, 3]}),
    "coordinates that are a number": owner_of_one(attrs={"coordinates": 5}),
    "chunks that are a word": owner_of_one(chunks={"x": "auto"}),
    "chunks of nothing": owner_of_one(chunks={"x": 0}),
    "chunks of another dimension": owner_of_one(chunks={"y": 1}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_xarray_cannot_open_is_malformed_whatever_xarray_raises(case):
    with pytest.raises(Malformed) as caught:
        open_lazily(opened(HOSTILE[case]))
    assert "gfz/evil.data" in str(caught.value)
    assert caught.value.__context__ is None
    assert "\n" not in str(caught.value)


def test_options_of_the_reader_do_not_hide_that_the_owner_is_at_fault():
    with pytest.raises(Malformed):
        open_lazily(opened(HOSTILE["coordinates that are a number"]), decode_times=False)


def test_wrong_options_of_the_reader_are_told_by_xarray():
    source = owner_of_one(attrs={"units": "days since 2000-01-01", "calendar": "360_day"})
    assert open_lazily(opened(source)).a.dtype == object
    with pytest.raises(ValueError, match="decode") as caught:
        open_lazily(opened(source), decode_times=xr.coders.CFDatetimeCoder(use_cftime=False))
    assert not isinstance(caught.value, LandbridgeError)


def test_what_the_owner_answers_while_a_data_set_is_decoded_stays_what_it_is():
    class Changed(Owner):
        def select(self, version, wanted):
            raise DatasetChanged("gfz/evil.data")

    source = Changed(**owner_of_one(attrs={"units": "days since 2000-01-01"}).open())
    with pytest.raises(DatasetChanged):
        open_lazily(opened(source))


def test_names_that_are_no_texts_are_taken():
    source = owner_of_one(name=("a", 1), dims=(2, None), shape=(2, 3), chunks={2: 1}, raw=False)
    assert dict(open_lazily(opened(source)).sizes) == {2: 2, None: 3}
