"""Laws of selecting: blocks put together are what NumPy gives, read in bounded contiguous boxes, no chunk twice."""

import contextlib
import itertools
import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from xarray.core.indexing import NumpyIndexingAdapter, OuterIndexer, VectorizedIndexer

from landbridge.datasets.reads import place, reads
from landbridge.datasets.selection import Selection, blocks, chunk_grid
from landbridge.errors import InvalidArguments, Malformed

DTYPES = st.sampled_from(["i1", "<i2", ">f4", "f8", "c16", "O", "M8[s]", "S3"])


def slices(size):
    ends = st.none() | st.integers(-size - 2, size + 2)
    return st.builds(slice, ends, ends, st.none() | st.integers(-5, -1) | st.integers(1, 5))


def indices(size, shape):
    values = st.lists(st.integers(-size, size - 1), min_size=math.prod(shape), max_size=math.prod(shape))
    return values.map(lambda found: np.array(found, np.int64).reshape(shape))


@st.composite
def sources(draw):
    """Shape, chunks or None, and a key that may be used on it."""
    shape = tuple(draw(st.lists(st.integers(1, 14), min_size=0, max_size=4)))
    chunks = draw(st.none() | st.tuples(*(st.integers(1, size) for size in shape)))
    points = shape and draw(st.booleans())
    if points:
        result = tuple(draw(st.lists(st.integers(1, 4), min_size=0, max_size=2)))
        where = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
        entries = [
            draw(indices(size, tuple(draw(st.sampled_from([1, length])) for length in result)))
            if axis in where
            else draw(slices(size))
            for axis, size in enumerate(shape)
        ]
        return shape, chunks, ["points", entries]
    entries = [
        draw(
            st.integers(-size, size - 1)
            | slices(size)
            | st.integers(0, 12).flatmap(lambda length, size=size: indices(size, (length,)))
        )
        for size in shape
    ]
    return shape, chunks, ["outer", entries]


def by_xarray(array, key):
    kind, entries = key
    adapter = NumpyIndexingAdapter(array)
    if kind == "outer":
        return adapter.oindex[OuterIndexer(tuple(entries))]
    most = max(np.ndim(entry) for entry in entries if not isinstance(entry, slice))
    spread = [
        entry if isinstance(entry, slice) else entry.reshape((1,) * (most - entry.ndim) + entry.shape)
        for entry in entries
    ]
    return adapter.vindex[VectorizedIndexer(tuple(spread))]


@settings(max_examples=1500, deadline=None)
@given(source=sources(), dtype=DTYPES, limit=st.sampled_from([1, 16, 64, 500, 10_000]), fine=st.booleans())
def test_the_blocks_of_a_selection_are_what_numpy_gives(source, dtype, limit, fine):
    shape, chunks, key = source
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    itemsize = array.dtype.itemsize
    expected = np.asarray(by_xarray(array, key))
    # Tiny chunks are taken together; the law is tested with the chunks themselves, too.
    grid = chunk_grid(shape, itemsize, chunks, limit) if fine else chunks or (1,) * len(shape)
    one_chunk = math.prod(grid) * itemsize

    selection = Selection.parse(key, shape)
    assert selection.shape == expected.shape
    found = np.empty(expected.shape, dtype)
    seen = np.zeros(expected.shape, int)
    starts = []
    for start, block in blocks(selection, itemsize, limit, grid):
        chunks_read = []

        def read(box, chunks_read=chunks_read):
            assert all(type(part) is slice and part.step is None and 0 <= part.start < part.stop for part in box)
            assert all(part.stop <= size for part, size in zip(box, shape, strict=True))
            part = array[(*box, ...)]
            assert part.nbytes <= max(limit, one_chunk)
            touched = (range(cut.start // size, -(-cut.stop // size)) for cut, size in zip(box, grid, strict=True))
            chunks_read.extend(itertools.product(*touched))
            return part

        values = place(block, reads(block, grid, itemsize, limit), array.dtype, read)
        assert values.shape == block.shape
        assert values.nbytes <= max(limit, itemsize)
        assert len(chunks_read) == len(set(chunks_read))
        box = tuple(slice(low, low + length) for low, length in zip(start, block.shape, strict=True))
        found[box] = values
        seen[box] += 1
        starts.append(start)
    assert (seen == 1).all()
    assert starts == sorted(starts)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=300, deadline=None)
@given(source=sources(), limit=st.sampled_from([64, 4096, 40_000]))
def test_whole_chunks_are_read_once_for_all_blocks_where_they_fit(source, limit):
    shape, chunks, key = source
    key = ["outer", [slice(None) if isinstance(entry, np.ndarray) else entry for entry in key[1]]]
    chunks = chunks or (1,) * len(shape)
    assume(math.prod(chunks) <= limit)
    selection, counts = Selection.parse(key, shape), {}
    for _, block in blocks(selection, 1, limit, chunks):
        for step in reads(block, chunks, 1, limit):
            touched = (range(c.start // n, -(-c.stop // n)) for c, n in zip(step.slices, chunks, strict=True))
            for chunk in itertools.product(*touched):
                counts[chunk] = counts.get(chunk, 0) + 1
    assert set(counts.values()) <= {1}


NONSENSE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["outer", "points"])
    | st.builds(slice, *(st.none() | st.integers(-(10**30), 10**30) | st.text(max_size=1),) * 3)
    | st.sampled_from(
        [
            np.array(1),
            np.array([True]),
            np.array([1.0]),
            np.array(["a"]),
            np.array([None], object),
            np.array([2**64 - 1], np.uint64),
            np.zeros((1,) * 64, np.int64),
            np.zeros((0, 3), np.int64),
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@settings(max_examples=1000, deadline=None)
@given(
    key=NONSENSE | st.tuples(st.sampled_from(["outer", "points"]), st.lists(NONSENSE, max_size=3)),
    shape=st.lists(st.integers(0, 5), max_size=3).map(tuple),
)
def test_a_key_that_is_none_is_refused_with_a_typed_error(key, shape):
    selection = None
    with contextlib.suppress(InvalidArguments, Malformed):
        selection = Selection.parse(key, shape)
    if selection is not None:
        assert by_xarray(np.empty(shape, bool), key).shape == selection.shape
