"""Law: what is decoded equals what was encoded, type by type, for values nested at will."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import PurePosixPath

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landbridge.wire import decode, encode

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
zones = st.none() | st.just(dt.UTC) | st.sampled_from([dt.timezone(dt.timedelta(hours=5), "five")])
hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=700)
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=zones)
    | st.times(timezones=st.just(None))
    | st.timedeltas()
    | st.complex_numbers(allow_nan=False)
    | st.builds(PurePosixPath, st.text("abc/.", min_size=1)),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
simple = (
    hnp.scalar_dtypes().filter(lambda dtype: dtype.char not in "gG")
    | hnp.unicode_string_dtypes(max_len=5)
    | hnp.byte_string_dtypes(max_len=5)
)
structs = st.lists(simple, min_size=1, max_size=3).map(
    lambda parts: np.dtype([(f"field {at}", part) for at, part in enumerate(parts)])
)
arrays = hnp.arrays(simple | structs, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
layouts = st.builds(
    lambda array, turn, flip: (array.T if turn else array)[:: -1 if flip else 1] if array.ndim else array,
    arrays,
    st.booleans(),
    st.booleans(),
)
values = st.recursive(
    hashable | st.just(math.nan) | st.binary(max_size=700).map(bytearray) | layouts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
    ),
    max_leaves=12,
)


def same(one, other) -> bool:
    """Compare as ``==`` does, but with types, order of keys, NaN, and whole arrays."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and (one.dtype.names is not None or one.tobytes() == other.tobytes())
            and repr(one) == repr(other)
        )
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(*keys) and same(one[keys[0]], other[keys[1]]) for keys in zip(one, other, strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one.hex() == other.hex()
    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()
    return one == other


@settings(max_examples=300, deadline=None)
@given(values, st.sampled_from([bytes, bytearray]))
def test_decoding_undoes_encoding(value, container):
    assert same(decode(container(b"".join(encode(value)))), value)


@settings(max_examples=100, deadline=None)
@given(values)
def test_encoding_is_stable(value):
    frame = b"".join(encode(value))
    assert b"".join(encode(decode(frame))) == frame
