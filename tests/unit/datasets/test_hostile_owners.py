"""What an owner says of a data set and sends of it is not believed: typed errors, and no memory of the reader's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr

from landbridge.datasets.opening import open_lazily, opened
from landbridge.datasets.remote import fill
from landbridge.datasets.view import without_folders
from landbridge.errors import Malformed
from landbridge.names import Address


class Owner:
    address = Address("gfz", "evil", "data")

    def __init__(self, **changed):
        lazy = [["t", ["x"], [10], np.dtype("f8"), {}, {}, None]]
        plain = {"version": "1", "raw": True, "dataset": xr.Dataset(), "lazy": lazy, "variables": ["t"], "coords": []}
        self.said = {**plain, **changed}

    def open(self):
        return self.said

    def select(self, version, wanted):
        raise Malformed("what is asked for is not sent")


def lazy(**changed):
    fields = {"name": "t", "dims": ["x"], "shape": [10], "dtype": np.dtype("f8"), "attrs": {}, "encoding": {}}
    return {"lazy": [[*{**fields, **changed}.values(), None]]}


DESCRIPTIONS = {
    "no version": {"version": None},
    "names of no kind": {"variables": [{}]},
    "coordinates of no kind": {"coords": [[]]},
    "a name of no kind": lazy(name={}),
    "a dimension of no kind": lazy(dims=[{}]),
    "a dimension twice": lazy(dims=["x", "x"], shape=[2, 2]),
    "a negative length": lazy(shape=[-1]),
    "a length beyond all memory": lazy(shape=[2**80]),
    "nothing of immense length": lazy(dims=["x", "y"], shape=[0, 2**80]),
    "scale is a list": lazy(attrs={"scale_factor": [1, 2], "add_offset": {}}),
    "coordinates are a number": lazy(attrs={"coordinates": 3}),
    "units that are none": lazy(attrs={"units": "seconds since the flood"}),
    "more variables than are described": {"variables": ["t", "u"]},
}


@pytest.mark.parametrize("changed", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
@pytest.mark.filterwarnings("ignore")
def test_odd_descriptions_are_data_sets_or_malformed(changed):
    try:
        dataset = open_lazily(opened(Owner(**changed)), decode_times=True)
    except Malformed:
        return
    assert isinstance(dataset, xr.Dataset)


def test_blocks_that_come_for_ever_are_not_read_for_ever():
    block = [0, [0], np.zeros(4)]
    with pytest.raises(Malformed, match="more than was asked for"):
        fill([np.zeros(8)], itertools.repeat(block), "gfz/evil.data")
    with pytest.raises(Malformed, match="more than was asked for"):
        fill([np.zeros(8)], itertools.repeat([0, [0], np.zeros(0)]), "gfz/evil.data")


BLOCKS = {
    "beyond the end": [0, [6], np.zeros(4)],
    "of another entry": [1, [0], np.zeros(4)],
    "before the beginning": [0, [-4], np.zeros(4)],
    "of another dtype": [0, [0], np.zeros(4, "f4")],
    "too short": [0, []],
    "no block": 3,
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_that_does_not_fit_is_refused(block):
    with pytest.raises(Malformed):
        fill([np.zeros(8)], iter([block]), "gfz/evil.data")


@pytest.mark.parametrize(
    "said",
    [
        "cannot read '/home/ada/my secret data/Projekt X/sst.nc'",
        'cannot read "/home/ada/my secret data/sst.nc"',
        "cannot read file:/home/ada/secret/sst.nc",
        "cannot read 'file:///home/ada/my secret data/sst.nc'",
        "cannot read C:\\Users\\ada\\secret\\sst.nc now",
        "cannot read 'C:\\Users\\ada\\my secret\\sst.nc'",
        "cannot read /home/ada/secret/sst.nc: no such file",
    ],
)
def test_no_folder_of_an_owner_is_told(said):
    told = without_folders(OSError(said))
    assert "sst.nc" in told
    assert "secret" not in told
    assert "ada" not in told
