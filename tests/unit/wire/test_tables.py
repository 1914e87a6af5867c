"""What is particular to tables on the wire: views, wide tables, places of what is refused, limits of a stream."""

from __future__ import annotations

import datetime as dt
import struct
import subprocess
import sys
import tracemalloc

import msgpack
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from landbridge.errors import CannotTravel, Malformed
from landbridge.wire import decode, encode
from landbridge.wire.arrowstream import _Table


def there_and_back(value):
    return decode(bytearray(b"".join(encode(value))))


def test_columns_of_numbers_are_views_of_the_frame():
    frame = bytearray(b"".join(encode(pd.DataFrame({"a": np.arange(1000.0), "b": ["x"] * 1000}))))
    assert np.shares_memory(decode(frame)["a"].to_numpy(), np.frombuffer(frame, "u1"))


def test_a_table_of_many_columns_is_one_buffer():
    wide = pd.DataFrame(np.random.default_rng(1).random((100, 6000)), columns=range(6000))
    assert len(encode(wide)) < 8
    pd.testing.assert_frame_equal(there_and_back(wide), wide)


def test_columns_of_one_dtype_arrive_together_wherever_they_stand():
    frame = pd.DataFrame({at: np.arange(3.0) if at % 3 else np.arange(3) for at in range(300)}, index=[5, 5, 6])
    frame.insert(150, "text", ["a", None, "b"])
    back = there_and_back(frame)
    pd.testing.assert_frame_equal(back, frame)
    assert back._mgr.nblocks == 3


def test_text_that_arrow_holds_is_a_view_at_the_sender():
    text = pd.Series(["Kiel", "Potsdam"] * 500, dtype="str")
    content = text.array.__arrow_array__().chunk(0).buffers()[2]
    sent = [part for part in encode(text) if isinstance(part, memoryview)]
    assert any(np.frombuffer(part, "u1").ctypes.data == content.address for part in sent if len(part))


@pytest.mark.parametrize(
    ("value", "where", "said"),
    [
        (pd.DataFrame({"a": [1], "b": [object()]}), 'value["b"][0]', "no rule"),
        (pd.DataFrame({("x", 1): [{"k": len}]}), 'value[("x", 1)][0]["k"]', "code"),
        ({"t": pd.DataFrame({"s": pd.arrays.SparseArray([0, 1])})}, 'value["t"]["s"]', "SparseArray"),
        (pd.DataFrame({"a": [1]}, index=[object()]), "value.index[0]", "no rule"),
        (pd.Series([1], name=frozenset([len])), "value.name, element <builtin_function_or_method>", "code"),
        ([pa.table({"u": pa.array(["x"], pa.string_view())})], 'value[0]["u"]', "string_view"),
        (pa.table({"a": [1], "e": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))}),
         'value["e"]', "extension"),
        (pl.DataFrame({"e": pl.Series(["a"], dtype=pl.Enum(["a"]))}), 'value["e"]', "Enum"),
        (pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}), 'value["o"]', "Object"),
        (pl.DataFrame({"i": pl.Series([1], dtype=pl.Int128)}), 'value["i"]', "Int128"),
        (pl.DataFrame({"a\0b": [1]}), 'value["a\ufffdb"]', "Int64"),
        (pd.date_range("2024", periods=2, freq=pd.offsets.DateOffset(months=2)), "value.freq", "exact text"),
    ],
)  # fmt: skip
def test_what_does_not_travel_is_named_by_its_column(value, where, said):
    with pytest.raises(CannotTravel, match=said) as caught:
        encode(value)
    assert caught.value.where == where


def tagged(tag, payload) -> bytes:
    """Return a frame with a payload made by hand, of values that all stay in its header."""
    inner = b"".join(encode(payload))[12:]
    packed = msgpack.packb(msgpack.ExtType(1, b"\x92" + msgpack.packb(tag) + inner))
    return b"LB\x01\x00" + len(packed).to_bytes(4, "little") + bytes(4) + packed


HUGE = pd.RangeIndex(2**62)
LONG = pd.RangeIndex(2**21)
ONE = np.array([0], "i1")
HOLLOW = {
    "columns": ("pd.df", [HUGE, pd.Index([1]), [], {}, True]),
    "rows": ("pd.df", [pd.Index([], dtype="i8"), HUGE, [], {}, True]),
    "rows of a column": ("pd.df", [pd.Index([1]), HUGE, [[[0], ONE]], {}, True]),
    "rows of a series": ("pd.series", [ONE, HUGE, None, {}, True]),
    "categories": ("pd.categorical", [ONE, HUGE, False]),
    "levels": ("pd.multi", [[HUGE], [ONE], [None]]),
    "intervals": ("pd.intervals", ["left", HUGE, HUGE]),
}


@pytest.mark.parametrize("name", HOLLOW)
def test_range_of_labels_without_content_is_malformed(name):
    with pytest.raises(Malformed):
        decode(tagged(*HOLLOW[name]))


@pytest.mark.parametrize(
    "value",
    [pd.DataFrame(index=LONG), pd.Categorical.from_codes([0], LONG), pd.MultiIndex([LONG], [[0]])],
    ids=["table", "categories", "levels"],
)
def test_range_of_labels_without_content_is_refused(value):
    with pytest.raises(CannotTravel, match="million"):
        encode(value)


X = pd.Index(["a"], dtype=object)
BAD_TABLES = {
    "column twice": ("pd.df", [X, X, [[[0], ONE], [[0], ONE]], {}, True]),
    "column that is missing": ("pd.df", [X, X, [], {}, True]),
    "column beyond the labels": ("pd.df", [X, X, [[[1], ONE]], {}, True]),
    "negative column": ("pd.df", [X, X, [[[-1], ONE]], {}, True]),
    "column of a boolean": ("pd.df", [X, X, [[[False], ONE]], {}, True]),
    "column that is too long": ("pd.df", [X, X, [[[0], np.zeros(2)]], {}, True]),
    "columns of another shape": ("pd.df", [X, X, [[[0], np.zeros((1, 2))]], {}, True]),
    "column of no array": ("pd.df", [X, X, [[[0], [1]]], {}, True]),
    "column of text of fixed width": ("pd.df", [X, X, [[[0], np.array(["a"])]], {}, True]),
    "column of days": ("pd.df", [X, X, [[[0], np.array([1], "M8[D]")]], {}, True]),
    "labels that are no index": ("pd.df", [["a"], X, [[[0], ONE]], {}, True]),
    "labels twice where they may not": ("pd.series", [np.zeros(2), pd.Index([1, 1]), None, {}, False]),
    "name that is a list": ("pd.series", [ONE, X, [1], {}, True]),
    "code without category": ("pd.categorical", [np.array([1], "i1"), X, False]),
    "negative code": ("pd.categorical", [np.array([-2], "i1"), X, False]),
    "category twice": ("pd.categorical", [ONE, pd.Index(["a", "a"], dtype=object), False]),
    "code without level": ("pd.multi", [[X], [np.array([1], "i1")], [None]]),
    "fewer codes than levels": ("pd.multi", [[X, X], [ONE], [None, None]]),
    "level of levels": ("pd.multi", [[pd.MultiIndex.from_arrays([["a"]])], [ONE], [None]]),
    "mask of another length": ("pd.masked", [np.zeros(2, "i8"), np.zeros(1, bool)]),
    "mask of numbers": ("pd.masked", [np.zeros(1, "i8"), np.zeros(1, "i1")]),
    "nullable complex": ("pd.masked", [np.zeros(1, "c16"), np.zeros(1, bool)]),
    "frequency that does not fit": ("pd.index", [np.array(["2024-01-01", "2024-02-03"], "M8[s]"), None, "D"]),
    "frequency of numbers": ("pd.index", [ONE, None, "D"]),
    "frequency of code": ("pd.index", [np.array(["2024-01-01"], "M8[s]"), None, "__import__('os')"]),
    "zone of durations": ("pd.times", [np.array([1], "m8[s]"), dt.UTC]),
    "zone of text": ("pd.times", [np.array([1], "M8[s]"), "UTC"]),
    "intervals that end before they begin": ("pd.intervals", ["left", pd.Index([2]), pd.Index([1])]),
    "intervals of another side": ("pd.intervals", ["up", pd.Index([1]), pd.Index([2])]),
    "period of no frequency": ("pd.period", ["moon", 1]),
    "period that is none": ("pd.period", ["D", -(2**63)]),
    "point in time that is none": ("pd.timestamp", [-(2**63), "ns", None, 0]),
    "point in time in days": ("pd.timestamp", [1, "D", None, 0]),
    "fold of two": ("pd.timestamp", [1, "s", None, 2]),
    "duration in years": ("pd.timedelta", [1, "Y"]),
    "interval of texts": ("pd.interval", ["a", "b", "left"]),
    "dtype with content": ("pd.dtype", pd.array([1], dtype="Int64")),
    "dtype of no pandas": ("pd.dtype", np.zeros(0)),
    "text of an unknown storage": ("pd.text", ["pickle", "NA", bytes(8), b"", None]),
    "text that is no UTF-8": ("pd.text", ["pyarrow", "nan", np.array([0, 1]).tobytes(), b"\xff", None]),
    "text without offsets": ("pd.text", ["pyarrow", "nan", b"", b"", None]),
    "Arrow column of NumPy": ("pd.arrow", ONE),
    "series of a table": ("gpd.series", [ONE, X, None, {}, True]),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_broken_table_is_malformed(name):
    with pytest.raises(Malformed):
        decode(tagged(*BAD_TABLES[name]))


def test_labels_that_collide_are_malformed():
    labels = np.array([number * (2**61 - 1) for number in range(200)], dtype=object)
    with pytest.raises(Malformed, match="collide"):
        decode(tagged("pd.index", [labels, None, None]))


def stream(table: pa.Table, **options) -> bytes:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue().to_pybytes()


def arrow_frame(data: bytes, tag: str = "pa.table") -> bytes:
    header = msgpack.packb(msgpack.ExtType(1, msgpack.packb([tag, data])))
    return b"LB\x01\x00" + len(header).to_bytes(4, "little") + bytes(4) + header


def test_the_streams_of_this_file_are_otherwise_good():
    table = pa.table({"a": [1, 2], "d": pa.array(["x", "y"]).dictionary_encode()})
    assert decode(arrow_frame(stream(table))).equals(table)


SCHEMA = pa.schema([pa.field("e", pa.int8(), metadata={"ARROW:extension:name": "someone.pickle"})])
BAD = {
    "compressed": (stream(pa.table({"a": ["x" * 1000]}), compression="zstd"), "compressed"),
    "compressed dictionary": (stream(pa.table({"a": pa.array(["x" * 1000]).dictionary_encode()}), compression="lz4"),
                              "compressed"),
    "bytes at the end": (stream(pa.table({"a": [1]})) + bytes(8), "bytes follow"),
    "cut": (stream(pa.table({"a": [1]}))[:-8], "cut"),
    "nothing": (b"", "cut"),
    "an extension type": (stream(pa.Table.from_batches([], SCHEMA)), "extension"),
    "a view": (stream(pa.table({"a": pa.array(["x"], pa.string_view())})), "does not travel"),
    "a union": (stream(pa.table({"a": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])})),
                "does not travel"),
    "run ends": (stream(pa.table({"a": pa.RunEndEncodedArray.from_arrays([2**30], [1])})), "does not travel"),
    "a thousand million of nothing": (stream(pa.table({"a": pa.nulls(10**9)})), "more items than content"),
    "nested nothing": (stream(pa.table({"a": pa.nulls(1000, pa.list_(pa.null(), 10**6))})), "more items than content"),
    "too many batches": (stream(pa.Table.from_batches(
        [pa.record_batch({"a": pa.array(["x"]).dictionary_encode()})] * 100)), "too many batches"),
    "too many columns": (stream(pa.table({str(i): pa.nulls(0) for i in range(20_000)})), "too many columns"),
    "deep": (stream(pa.table({"a": pa.nulls(0, eval("pa.list_(" * 30 + "pa.int8()" + ")" * 30))})), "too deep"),
    "a file": (b"ARROW1\0\0" + bytes(100), "beginning"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_unfit_stream_is_malformed(name):
    data, said = BAD[name]
    with pytest.raises(Malformed, match=said):
        decode(arrow_frame(data))


def test_schema_that_means_one_long_name_a_thousand_times_is_malformed():
    schema = pa.schema([("x" * 100_000, pa.int8()), *((f"c{at}", pa.int8()) for at in range(999))])
    data = bytearray(stream(pa.Table.from_batches([], schema)))
    # The fields of a schema are a vector of distances forward to them. All are made to lead to the longest one.
    (start,) = struct.unpack_from("<I", data, 8)
    message = _Table(memoryview(data)[8:], start)
    vector = 8 + message.table(2)._target(1)
    (count,) = struct.unpack_from("<I", data, vector)
    places = [vector + 4 + 4 * at for at in range(count)]
    longest = places[0] + struct.unpack_from("<I", data, places[0])[0]
    for place in places:
        if longest > place:
            struct.pack_into("<I", data, place, longest - place)
    assert count == 1000
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="texts in several places"):
            decode(arrow_frame(bytes(data)))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_text_offsets_that_would_crash_arrow_are_malformed():
    data = bytearray(stream(pa.table({"a": ["some text"] * 3})))
    at = data.index((9).to_bytes(4, "little") + (18).to_bytes(4, "little"))
    data[at : at + 4] = (2**31 - 1).to_bytes(4, "little")
    with pytest.raises(Malformed):
        decode(arrow_frame(bytes(data)))


def test_many_batches_with_a_dictionary_are_sent_as_few():
    table = pa.Table.from_batches([pa.record_batch({"a": pa.array(["x", "y"]).dictionary_encode()})] * 100)
    assert there_and_back(table).equals(table)


def test_missing_package_is_named_with_what_installs_it():
    code = f"""
import sys
for name in ("pandas", "pyarrow", "polars", "shapely", "geopandas"): sys.modules[name] = None
from landbridge.errors import MissingExtra
from landbridge.wire import decode
for frame in {[b"".join(encode(v)) for v in (pd.DataFrame({"a": [1]}), pa.array([1]), pl.Series([1]))]!r}:
    try: decode(frame)
    except MissingExtra as error: print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.count("pip install 'landbridge[table]'") == 2
    assert "landbridge[polars]" in said


def test_pandas_is_not_imported_for_plain_values():
    code = "import sys; from landbridge.wire import decode, encode; import numpy\n"
    code += "decode(b''.join(encode([1, numpy.arange(3)]))); print({'pandas', 'pyarrow', 'xarray'} & {*sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.strip() == "set()"
