"""What owners may send to readers of their data sets without harm: nothing is believed that was not seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.datasets.remote import fill
from landbridge.datasets.selection import Selection, blocks
from landbridge.errors import Malformed

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
