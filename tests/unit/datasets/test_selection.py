"""What a key may be, what its errors say, and how blocks are cut along chunks."""

from __future__ import annotations

import numpy as np
import pytest

from landbridge.datasets.reads import reads
from landbridge.datasets.selection import Selection, blocks, chunk_grid, grow
from landbridge.errors import InvalidArguments, Malformed

WHOLE = slice(None)
SHAPE = (1460, 121, 240)
STEPS = (1, 121, 240)  # chunks of one step
MIB = 2**20


def boxes(key, chunks=STEPS, limit=8 * MIB):
    return [start for start, _ in blocks(Selection.parse(key, SHAPE), 4, limit, chunks)]


def read_boxes(key, chunks=STEPS, limit=8 * MIB):
    return [step.slices for step in reads(Selection.parse(key, SHAPE), chunks, 4, limit)]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (1460, "index 1460 is out of range: dimension 0 has size 1460"),
        (-1461, "index -1461 is out of range: dimension 0 has size 1460"),
        (10**50, "a number of more than 128 bits is out of range"),
        (np.array([0, 5000]), "index 5000 is out of range: dimension 0 has size 1460"),
        (np.array([-5000]), "index -5000 is out of range"),
        (np.array([2**64 - 1], np.uint64), "index 18446744073709551615 is out of range"),
        (slice(0, 5, 0), r"the slice of dimension 0 \(size 1460\) has step 0"),
    ],
)
def test_an_index_out_of_range_is_named_with_its_dimension(entry, said):
    with pytest.raises(InvalidArguments, match=said):
        Selection.parse(["outer", [entry, 0, 0]], SHAPE)


@pytest.mark.parametrize(
    "key",
    [
        None,
        "outer",
        ["outer"],
        ["inner", [0, 0, 0]],
        [["outer"], [0, 0, 0]],
        ["outer", None],
        ["outer", [True, 0, 0]],
        ["outer", [1.0, 0, 0]],
        ["outer", [[1, 2], 0, 0]],
        ["outer", [np.array([1.0]), 0, 0]],
        ["outer", [np.array([True]), 0, 0]],
        ["outer", [np.array([[1]]), 0, 0]],
        ["outer", [np.ma.array([1]), 0, 0]],
        ["outer", [slice("a"), 0, 0]],
        ["outer", [slice(True), 0, 0]],
        ["points", [WHOLE, WHOLE, WHOLE]],
        ["points", [np.array([1]), 0, WHOLE]],
    ],
)
def test_what_is_no_key_is_malformed(key):
    with pytest.raises(Malformed):
        Selection.parse(key, SHAPE)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([WHOLE], "1 entries, but the variable 3 dimensions"),
        ([np.zeros(3, int), np.zeros(4, int), WHOLE], r"do not fit together: \(3,\), \(4,\)"),
        ([np.zeros((1,) * 63, int), WHOLE, WHOLE], "more than 64 dimensions"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(entries, said):
    with pytest.raises(InvalidArguments, match=said):
        Selection.parse(["points", entries], SHAPE)


def test_points_beyond_counting_are_refused_before_memory_is_taken():
    axes = [np.zeros((1,) * n + (2**16,) + (1,) * (3 - n), int) for n in range(4)]
    with pytest.raises(InvalidArguments, match="18446744073709551616 points"):
        Selection.parse(["points", axes], (9, 9, 9, 9))


def test_numpy_integers_are_taken_as_ints():
    key = ["outer", [np.int64(-1), slice(np.int32(2), None, np.uint8(2)), np.array([-1, 0], np.int8)]]
    selection = Selection.parse(key, SHAPE)
    assert selection.shape == (60, 2)
    assert selection.entries[0] == 1459


def test_a_key_is_not_changed_with_its_array():
    indices = np.array([3, 1, 2])
    selection = Selection.parse(["outer", [indices, 0, 0]], SHAPE)
    indices[:] = 10**9
    assert [step.slices[0] for step in reads(selection, STEPS, 4, MIB)] == [slice(1, 4)]


def test_blocks_end_where_chunks_end():
    # 72 steps of 116 KB fit; with 7 steps to a chunk 70 do.
    assert boxes(["outer", [WHOLE] * 3])[1] == (72, 0, 0)
    assert boxes(["outer", [WHOLE] * 3], (7, 121, 240))[1] == (70, 0, 0)
    # Chunks of whole series: blocks go along the other dimensions.
    assert boxes(["outer", [WHOLE] * 3], (1460, 10, 10))[1] == (0, 0, 140)


def test_contiguous_parts_of_several_chunks_are_one_read():
    assert read_boxes(["outer", [slice(3, 50), WHOLE, slice(7, 9)]]) == [(slice(3, 50), slice(0, 121), slice(7, 9))]


def test_a_strided_part_reads_each_chunk_it_needs_and_no_other():
    found = read_boxes(["outer", [slice(None, None, 10), slice(None, None, 4), slice(5, None, 4)]])
    assert found == [(slice(step, step + 1), slice(0, 121), slice(5, 238)) for step in range(0, 1460, 10)]


def test_points_in_one_chunk_are_one_read():
    points = [np.array([5, 900, 5, 5]), np.array([100, 3, 90, 95]), np.array([1, 7, 9, 1])]
    assert read_boxes(["points", points]) == [
        (slice(5, 6), slice(90, 101), slice(1, 10)),
        (slice(900, 901), slice(3, 4), slice(7, 8)),
    ]


def test_far_apart_indices_of_a_variable_without_chunks_are_not_bridged():
    grid = chunk_grid(SHAPE, 4, None, 8 * MIB)
    assert grid == (9, 121, 240)
    assert read_boxes(["outer", [np.array([0, 1000, 1002]), 0, 0]], grid) == [
        (slice(0, 1), slice(0, 1), slice(0, 1)),
        (slice(1000, 1003), slice(0, 1), slice(0, 1)),
    ]


def test_tiny_chunks_are_taken_together_and_huge_ones_apart():
    assert chunk_grid((10**6,), 8, (1,), 8 * MIB) == (8192,)
    assert chunk_grid((100, 5000, 5000), 8, (100, 5000, 5000), 8 * MIB) == (1, 209, 5000)


def test_preferred_chunks_are_multiples_of_those_of_the_source():
    assert grow((1, 121, 240), SHAPE, 4, 16_000_000) == (137, 121, 240)
    assert grow((10, 20, 20), SHAPE, 4, 16_000_000) == (130, 121, 240)
    assert grow((1460, 10, 10), SHAPE, 4, 16_000_000) == (1460, 10, 240)


def test_the_grid_of_an_empty_variable_has_no_zero():
    assert chunk_grid((0, 5), 8, None, MIB) == (1, 5)
    assert chunk_grid((0, 5), 8, (0, 5), MIB)[0] == 1


@pytest.mark.parametrize("rows", [slice(None, None, 2), np.random.default_rng(0).permutation(10**6)])
def test_a_block_is_of_no_more_chunks_than_can_be_kept_in_mind(rows):
    selection = Selection.parse(["outer", [rows, 0]], (10**6, 20_000))
    starts = [start for start, _ in blocks(selection, 4, 8 * MIB, (1, 20_000))]
    assert starts == [(start,) for start in range(0, selection.size, 4096)]


def test_a_block_is_of_no_more_points_than_can_be_sorted():
    points = np.zeros((1000, 1000), int)
    selection = Selection.parse(["points", [points, WHOLE]], (5, 3))
    assert max(np.prod(part.shape) for _, part in blocks(selection, 1, 8 * MIB, (1, 3))) <= 3 * 2**19
