"""Write the golden vectors of values: one file per value, and an index that describes them in words.

Run from the root of the project, after a change of the format that keeps old frames readable::

    python spec/vectors/make_values.py

Vectors are only ever added. A file that changes under an old name breaks the promise of ``spec/wire.md``.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import cftime
import numpy as np
import pandas as pd
import shapely
import xarray as xr

from landbridge.wire import Function, ReferenceData, encode
from landbridge.wire.compression import squeezed
from landbridge.wire.frame import buffers_of, frame_parts

FOLDER = Path(__file__).parent / "values"
NAMES = {
    "dt": dt, "Decimal": Decimal, "PurePosixPath": PurePosixPath, "UUID": UUID, "ZoneInfo": ZoneInfo, "np": np,
    "xr": xr, "cftime": cftime, "Function": Function, "nan": float("nan"), "inf": float("inf"), "pd": pd,
    "ReferenceData": ReferenceData,
    "shapely": shapely, "with_attrs": lambda labelled, **attrs: _with_attrs(labelled, attrs),
}  # fmt: skip

# name: (what it is, in words for every language; the same as a Python expression)
VECTORS = {
    "none": ("nothing", "None"),
    "true": ("boolean true", "True"),
    "integer": ("integer 2006", "2006"),
    "integer_min": ("smallest 64-bit integer, -2^63", "-(2**63)"),
    "integer_max": ("largest unsigned 64-bit integer, 2^64-1", "2**64 - 1"),
    "integer_big": ("integer 2^64", "2**64"),
    "integer_big_negative": ("integer -2^63-1", "-(2**63) - 1"),
    "float": ("float 0.1", "0.1"),
    "float_negative_zero": ("float -0.0", "-0.0"),
    "float_nan": ("float not-a-number", "nan"),
    "float_infinity": ("float -infinity", "-inf"),
    "complex": ("complex number 1-2i", "1 - 2j"),
    "text": ("text with characters of 1 to 4 bytes", "'Ni\u00f1o \u2013 \U0001f30a'"),
    "text_long": ("text of 65536 letters a, in a buffer", "'a' * 65536"),
    "bytes": ("three bytes", "b'\\x00\\x01\\xff'"),
    "bytes_long": ("512 bytes ff, in a buffer", "b'\\xff' * 512"),
    "bytearray": ("mutable bytes", "bytearray(b'abc')"),
    "arguments": ("map of text to integers, in this order", "{'first': 2006, 'last': 2010}"),
    "list": ("list with lists", "[1, [2.5, None], []]"),
    "tuple": ("tuple with a tuple", "(1, ('a',))"),
    "set": ("set of integers", "{1, 2, 300}"),
    "frozenset": ("frozen set of one tuple", "frozenset({(1, 2)})"),
    "map_keys": ("map whose keys are no text", "{1: 'integer', (1, 2): 'tuple', None: 'nothing', 2.5: 'float'}"),
    "range": ("range 0 to 10 by 2", "range(0, 10, 2)"),
    "slice": ("slice with an open end", "slice(1, None, 2)"),
    "ellipsis": ("ellipsis", "..."),
    "decimal": ("decimal 1.10, two digits after the point", "Decimal('1.10')"),
    "uuid": ("UUID", "UUID('12345678-1234-5678-1234-567812345678')"),
    "path": ("POSIX path", "PurePosixPath('data/sst.nc')"),
    "date": ("date", "dt.date(2006, 4, 1)"),
    "datetime": ("date and time without zone", "dt.datetime(2006, 4, 1, 12, 30, 0, 5)"),
    "datetime_utc": ("date and time in UTC", "dt.datetime(2006, 4, 1, tzinfo=dt.UTC)"),
    "datetime_zone": (
        "second 02:30 of the night in which summer time ends",
        "dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo('Europe/Berlin'))",
    ),
    "datetime_offset": (
        "date and time at offset -03:30 with a name",
        "dt.datetime(2006, 4, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30), 'NST'))",
    ),
    "time": ("time of day", "dt.time(23, 59, 59)"),
    "timedelta": ("duration of -1 day and 1 microsecond", "dt.timedelta(days=-1, microseconds=1)"),
    "scalar_float32": ("NumPy float32 scalar", "np.float32(0.5)"),
    "scalar_datetime64": ("NumPy datetime64 scalar in days", "np.datetime64('2006-04-01', 'D')"),
    "scalar_text": ("NumPy text scalar", "np.str_('Kiel')"),
    "scalar_bytes": ("NumPy bytes scalar", "np.bytes_(b'Kiel')"),
    "dtype": ("a dtype itself", "np.dtype('>f4')"),
    "array_float32": ("array of 2 x 3 float32, inline", "np.arange(6, dtype='<f4').reshape(2, 3)"),
    "array_buffer": ("array of 128 float64, in a buffer", "np.arange(128, dtype='<f8')"),
    "array_two_buffers": (
        "map of two arrays in two buffers, the first of 520 bytes",
        "{'a': np.arange(65, dtype='<i8'), 'b': np.arange(128, dtype='<f4')}",
    ),
    "array_order_f": ("array of 2 x 2 int16 in column order", "np.asfortranarray([[1, 2], [3, 4]]).astype('<i2')"),
    "array_big_endian": ("big-endian uint16", "np.array([1, 256], dtype='>u2')"),
    "array_0d": ("array without dimensions", "np.array(1.5)"),
    "array_empty": ("array of shape 0 x 2", "np.zeros((0, 2), dtype='<f4')"),
    "array_bool": ("booleans", "np.array([True, False])"),
    "array_int64": ("64-bit integers", "np.array([-(2**63), 2**63 - 1])"),
    "array_complex": ("complex64", "np.array([1 + 2j], dtype='<c8')"),
    "array_datetime": ("times in ns, the second missing", "np.array(['2006-04-01', 'NaT'], dtype='<M8[ns]')"),
    "array_timedelta": ("durations in hours", "np.array([1, -2], dtype='<m8[h]')"),
    "array_text": ("text of fixed width", "np.array(['Kiel', 'AWI'])"),
    "array_bytes": ("bytes of fixed width", "np.array([b'ab', b'c'])"),
    "array_struct": (
        "struct of int32 and two float32",
        "np.array([(1, (2.0, 3.0))], dtype=[('id', '<i4'), ('position', '<f4', (2,))])",
    ),
    "array_strings": ("text of variable width", "np.array(['a', '', 'Ni\u00f1o'], dtype=np.dtypes.StringDType())"),
    "array_object_text": ("objects: text and nothing", "np.array(['a', None], dtype=object)"),
    "array_objects": ("objects: integer, tuple", "np.array([1, 2.5, ...], dtype=object)"),
    "array_masked": (
        "masked array, second masked, fill value -1",
        "np.ma.masked_array(np.array([1, 2], '<i4'), mask=[False, True], fill_value=-1)",
    ),
    "cftime": ("30 February of a 360-day calendar", "cftime.Datetime360Day(2001, 2, 30)"),
    "cftime_array": (
        "two dates of a calendar without leap years",
        "np.array([cftime.DatetimeNoLeap(2001, 2, 28), cftime.DatetimeNoLeap(2001, 3, 1)], dtype=object)",
    ),
    "data_array": (
        "series of three float32 named sst, with a time index and attributes",
        "xr.DataArray(np.array([1, 2, 3], '<f4'), dims='time', name='sst', attrs={'units': 'K'},"
        " coords={'time': np.array(['2006-04', '2006-05', '2006-06'], 'M8[M]').astype('M8[ns]'), 'depth': 0.5})",
    ),
    "dataset": (
        "two variables over lat and lon, one coordinate without index",
        "xr.Dataset({'t': (('lat', 'lon'), np.zeros((2, 2), '<f4')), 'n': 1},"
        " coords={'lat': [1.0, 2.0], 'lon': [3.0, 4.0], 'area': ('lat', [5.0, 6.0])}, attrs={'title': 'example'})",
    ),
    "timestamp": ("pandas point in time of ns, in UTC", "pd.Timestamp('2006-04-01 12:30:00.000000005', tz='UTC')"),
    "timestamp_seconds": ("pandas point in time of seconds, without zone", "pd.Timestamp('2006-04-01').as_unit('s')"),
    "timedelta_pandas": ("pandas duration of -1 day in ns", "pd.Timedelta(-86400 * 10**9, 'ns')"),
    "not_a_time": ("pandas: no time", "pd.NaT"),
    "not_available": ("pandas: no value", "pd.NA"),
    "period": ("pandas period: April 2006", "pd.Period('2006-04', 'M')"),
    "interval": ("pandas interval: over 0, up to and with 1.5", "pd.Interval(0, 1.5)"),
    "masked_integers": ("pandas nullable int8: 1, nothing", "pd.array([1, None], dtype='Int8')"),
    "text_column": (
        "pandas text: Kiel, nothing (NA), empty; held by Python",
        "pd.array(['Kiel', None, ''], dtype='string[python]')",
    ),
    "categorical": (
        "pandas categories of float64, ordered: 2.5, nothing, 0.5",
        "pd.Categorical.from_codes([1, -1, 0], pd.Index([0.5, 2.5]), ordered=True)",
    ),
    "periods": ("pandas periods of quarters", "pd.PeriodIndex(['2006Q1', '2006Q2'], freq='Q-DEC').array"),
    "intervals": (
        "pandas intervals closed on the left",
        "pd.arrays.IntervalArray.from_breaks([0.0, 1.0], closed='left')",
    ),
    "dtype_pandas": ("a dtype of pandas itself", "pd.Int64Dtype()"),
    "index": ("pandas index of int16 with a name", "pd.Index(np.array([3, 1, 1], '<i2'), name='n')"),
    "index_range": ("pandas index of a range", "pd.RangeIndex(0, 10, 2)"),
    "index_times": (
        "pandas index of three months, with their frequency",
        "pd.DatetimeIndex(np.array(['2006-01-01', '2006-02-01', '2006-03-01'], '<M8[s]'), freq='MS', name='time')",
    ),
    "index_zone": (
        "pandas index of one hour in a zone",
        "pd.DatetimeIndex(np.array(['2006-07-01T10'], '<M8[s]')).tz_localize('UTC')"
        ".tz_convert(ZoneInfo('Europe/Berlin'))",
    ),
    "index_levels": (
        "pandas index of two levels, named a and without name",
        "pd.MultiIndex([pd.Index([1, 2]), pd.Index([0.5])], [[0, 1, 0], [0, 0, -1]], names=['a', None])",
    ),
    "series": (
        "pandas series of float32 with labels, a name and attributes",
        "with_attrs(pd.Series(np.array([1, 2], '<f4'), pd.Index([7, 8]), name='sst'), units='K')",
    ),
    "table": (
        "pandas table: columns a and c of float64, b of int8, d of objects; labels are objects",
        "pd.DataFrame({0: [0.5, 1.5], 1: np.array([1, 2], 'i1'), 2: [2.5, 3.5],"
        " 3: pd.Series(['x', 1], dtype=object)}).set_axis(pd.Index(['a', 'b', 'c', 'd'], dtype=object), axis=1)",
    ),
    "dataset_levels": (
        "one variable over z, whose index has the levels lat and lon",
        "xr.Dataset({'t': ('z', np.array([1, 2], '<f4'))}, coords=xr.Coordinates.from_pandas_multiindex("
        "pd.MultiIndex.from_arrays([np.array([0.5, 0.5]), np.array([1.5, 2.5])], names=['lat', 'lon']), 'z'))",
    ),
    "tree": (
        "tree of two datasets, the second at a/b",
        "xr.DataTree.from_dict({'/': xr.Dataset(attrs={'title': 'x'}), '/a/b': xr.Dataset({'n': 1})}, name='root')",
    ),
    "point": ("geometry: point at 1, 2", "shapely.Point(1, 2)"),
    "ring": ("geometry: closed ring of three corners", "shapely.LinearRing([(0, 0), (1, 0), (1, 1)])"),
    "collection": (
        "geometry: collection of a point with Z and an empty line",
        "shapely.GeometryCollection([shapely.Point(1, 2, 3), shapely.LineString()])",
    ),
    "arguments_functions": (
        "map of text to the caller's function 0, and to a list of its functions 1 and 0; only as arguments of a call",
        "{'progress': Function(0), 'steps': [Function(1), Function(0)]}",
    ),
    "reference": (
        "reference to value bb… (32 digits) that geomar/ocean keeps in its backend aa…; climatology made it; no grant",
        "ReferenceData('geomar/ocean', 'climatology', 'a' * 32, 'b' * 32, {'type': 'numpy.ndarray', 'bytes': 800})",
    ),
}  # fmt: skip

# The same, and the codec of its buffers. Libraries may compress to other bytes in time: these are to be read, no more.
COMPRESSED = {
    "compressed_lz4": ("float32 0 to 999, compressed by lz4", "np.arange(1000, dtype='<f4')", "lz4"),
    "compressed_zstd": ("1000 numbers of int64: 7; compressed by zstd", "np.full(1000, 7, dtype='<i8')", "zstd"),
    "compressed_text": ("text of 65536 letters a, compressed by lz4", "'a' * 65536", "lz4"),
}


def _with_attrs(labelled: Any, attrs: dict[str, object]) -> Any:
    labelled.attrs = attrs
    return labelled


def value_of(expression: str) -> object:
    """Return the value of one of the expressions above."""
    return eval(expression, dict(NAMES))


def compressed_frame(expression: str, codec: str) -> bytes:
    """Return the frame of a value with all its buffers compressed."""
    itemsizes: list[int] = []
    header, buffers = buffers_of(encode(value_of(expression), itemsizes=itemsizes))
    bodies = [squeezed(raw, size, codec, lambda: None) for raw, size in zip(buffers, itemsizes, strict=True)]
    return b"".join(frame_parts(header, buffers, bodies))


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    index = []
    for name, (description, expression) in VECTORS.items():
        (FOLDER / f"{name}.bin").write_bytes(b"".join(encode(value_of(expression))))
        index.append({"name": name, "file": f"{name}.bin", "description": description, "python": expression})
    for name, (description, expression, codec) in COMPRESSED.items():
        path = FOLDER / f"{name}.bin"
        if not path.exists():
            path.write_bytes(compressed_frame(expression, codec))
        entry = {"name": name, "file": path.name, "description": description, "python": expression, "codec": codec}
        index.append(entry)
    text = json.dumps(index, indent=1, ensure_ascii=False)
    (FOLDER / "index.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
