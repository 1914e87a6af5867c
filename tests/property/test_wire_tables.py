"""Law: a table of any columns, labels and index arrives as it was sent."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landbridge.wire import decode, encode
from unit.wire.exactness import assert_exact

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
zones = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30)), ZoneInfo("Europe/Berlin")])
units = st.sampled_from(["s", "ms", "us", "ns"])
numbers = st.sampled_from([*"?bhilBHILefdFD", ">i4", ">f8"])
labels = st.none() | st.integers(-5, 5) | text | st.tuples(st.integers(0, 3), text) | st.floats(allow_nan=False)
objects = labels | st.binary(max_size=4) | st.lists(st.integers(), max_size=2) | st.just(pd.NaT) | st.just(pd.NA)
# Inside every unit and every zone: a table of times beyond them can not be made in the first place.
instants = st.integers(-(2**31), 2**31)
DAYS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@st.composite
def columns(draw, rows: int):
    """Draw an array that pandas takes for a column of `rows` rows."""
    kind = draw(st.sampled_from(["number", "time", "duration", "zone", "text", "object", "category", "nullable",
                                 "arrow", "period", "interval"]))  # fmt: skip

    def many(elements):
        return draw(st.lists(elements, min_size=rows, max_size=rows))

    if kind == "number":
        return draw(hnp.arrays(np.dtype(draw(numbers)), rows))
    if kind in ("time", "duration", "zone"):
        unit = draw(units)
        whole = np.array(many(instants), "i8") * DAYS[unit]
        if kind != "zone":
            return whole.view(f"{'M' if kind == 'time' else 'm'}8[{unit}]")
        return pd.array(whole, dtype=pd.DatetimeTZDtype(unit, draw(zones)))
    if kind == "text":
        storage, missing = draw(st.sampled_from(["python", "pyarrow"])), draw(st.sampled_from([pd.NA, np.nan]))
        return pd.array(many(text | st.none()), dtype=pd.StringDtype(storage, missing))
    if kind == "object":
        array = np.empty(rows, dtype=object)
        for at, element in enumerate(many(objects)):
            array[at] = element
        return array
    if kind == "category":
        names = draw(st.lists(text, min_size=1, max_size=4, unique=True) | st.just(list(range(200))))
        codes = many(st.integers(-1, len(names) - 1))
        return pd.Categorical.from_codes(codes, names, ordered=draw(st.booleans()))
    if kind == "nullable":
        name = draw(st.sampled_from(["Int8", "UInt64", "Float32", "boolean"]))
        return pd.array(many(st.none() | st.sampled_from([0, 1])), dtype=name)
    if kind == "arrow":
        arrow = draw(
            st.sampled_from([pa.int32(), pa.list_(pa.int8()), pa.string(), pa.dictionary(pa.int8(), pa.int32())])
        )
        element = {"list<item: int8>": [1, None], "string": "a"}.get(str(arrow), 5)
        return pd.arrays.ArrowExtensionArray(
            pa.chunked_array([pa.array(many(st.sampled_from([None, element])), arrow)])
        )
    if kind == "period":
        ordinals = np.array(many(st.integers(-1000, 1000)), "i8")
        return pd.PeriodIndex.from_ordinals(
            ordinals, freq=draw(st.sampled_from(["D", "M", "Q-DEC", "2h", "W-SUN"]))
        ).array
    left = np.array(many(st.integers(-9, 9)), draw(st.sampled_from(["i8", "f8"])))
    return pd.arrays.IntervalArray.from_arrays(left, left + 1, closed=draw(st.sampled_from(["left", "both"])))


@st.composite
def indexes(draw, rows: int):
    """Draw an index of `rows` labels."""
    kind = draw(st.sampled_from(["range", "any", "any", "levels", "frequency"]))
    if kind == "range":
        step = draw(st.integers(1, 3))
        return pd.RangeIndex(0, rows * step, step, name=draw(labels))
    if kind == "frequency":
        frequency = draw(st.sampled_from(["D", "h", "MS", "W-MON", "QE-FEB", "15min", "B"]))
        return pd.date_range("2000-01-03", periods=rows, freq=frequency, tz=draw(st.none() | st.just("UTC")))
    if kind == "levels":
        level = columns(rows).filter(_can_be_looked_up)
        arrays = [pd.Index(draw(level)) for _ in range(draw(st.integers(1, 3)))]
        return pd.MultiIndex.from_arrays(
            arrays, names=draw(st.lists(labels, min_size=len(arrays), max_size=len(arrays)))
        )
    values = draw(columns(rows).filter(lambda array: array.dtype != np.float16))
    return pd.Index(
        values, name=draw(labels), tupleize_cols=False, **({"dtype": object} if values.dtype == object else {})
    )


def _can_be_looked_up(array) -> bool:
    if isinstance(array.dtype, np.dtype):
        return array.dtype.isnative and array.dtype != object and array.dtype != np.float16
    arrow_list = isinstance(array.dtype, pd.ArrowDtype) and not pa.types.is_integer(array.dtype.pyarrow_dtype)
    return not arrow_list and not isinstance(array.dtype, pd.IntervalDtype)


@st.composite
def tables(draw):
    """Draw a table."""
    rows, width = draw(st.integers(0, 4)), draw(st.integers(0, 5))
    made = {
        at: pd.Series(array, dtype=array.dtype)
        for at, array in enumerate(draw(st.lists(columns(rows), min_size=width, max_size=width)))
    }
    frame = pd.DataFrame(made, index=pd.RangeIndex(rows))
    frame.columns = pd.Index(draw(st.lists(labels, min_size=width, max_size=width)), dtype=object, tupleize_cols=False)
    frame.index = draw(indexes(rows))
    frame.attrs = draw(st.dictionaries(text, labels, max_size=2))
    return frame


@settings(max_examples=200, deadline=None)
@given(tables(), st.sampled_from([bytes, bytearray]))
def test_table_arrives_as_it_was_sent(frame, container):
    assert_exact(decode(container(b"".join(encode(frame)))), frame)


@settings(max_examples=100, deadline=None)
@given(tables())
def test_encoding_a_table_again_gives_the_same_bytes(frame):
    bytes_once = b"".join(encode(frame))
    assert b"".join(encode(decode(bytes_once))) == bytes_once


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4).flatmap(columns), labels)
def test_column_arrives_as_it_was_sent(array, name):
    series = pd.Series(array, name=name, dtype=array.dtype)
    assert_exact(decode(b"".join(encode(series))), series)
