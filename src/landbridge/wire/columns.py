"""Tags for what the columns of a pandas table are made of: its arrays, its scalars, its dtypes.

Numbers and times travel as the NumPy arrays they are; text as Arrow lays it out, which needs no copy either.
Nothing here reads what pandas writes into the metadata of an Arrow schema.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np

from ..errors import Malformed, MissingExtra, printable
from .arrays import Array, put_pieces, take_pieces
from .frame import Sink, Source
from .plain import matching
from .tags import ENCODERS, STEPS, Refused, Step, decodes, encoder_for, fields
from .times import zone_in, zone_of

__all__ = ["is_hollow", "pandas", "read_column", "register", "set_frequency", "write_column", "write_frequency"]

_UNITS = ("s", "ms", "us", "ns")
_CLOSED = ("left", "right", "both", "neither")
_FREQUENCY = re.compile(r"-?[0-9]{0,9}[A-Za-z]{1,6}(?:-[A-Za-z0-9]{1,9}){0,4}")
_NOT_A_TIME = -(2**63)


def pandas() -> Any:
    """Return the package.

    Raises
    ------
    MissingExtra
        When it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtra("A pandas table", "table") from None
    return pandas


def register() -> None:
    """Fill the table of encoders with the types of pandas that are no tables."""
    pd = sys.modules["pandas"]
    arrays = pd.arrays
    ENCODERS.update({
        pd.Timestamp: _timestamp,
        pd.Timedelta: _timedelta,
        type(pd.NaT): _not_a_time,
        type(pd.NA): _not_available,
        pd.Period: _period,
        pd.Interval: _interval,
        arrays.IntegerArray: _masked,
        arrays.FloatingArray: _masked,
        arrays.BooleanArray: _masked,
        arrays.ArrowExtensionArray: _arrow_backed,
        arrays.DatetimeArray: _times,
        arrays.TimedeltaArray: _times,
        arrays.PeriodArray: _periods,
        arrays.IntervalArray: _intervals,
        arrays.NumpyExtensionArray: _numpy_backed,
        pd.Categorical: _categorical,
    })  # fmt: skip
    ENCODERS.update(dict.fromkeys(map(type, _text_arrays(pd)), _text_array))
    ENCODERS.update(dict.fromkeys(_dtypes(pd), _dtype))
    STEPS[pd.Categorical] = _categorical_steps


def _text_arrays(pd: Any) -> list[Any]:
    made = []
    for storage in ("python", "pyarrow"):
        for missing in (pd.NA, np.nan):
            try:
                made.append(pd.array([], dtype=pd.StringDtype(storage, *([] if missing is pd.NA else [missing]))))
            except (ImportError, TypeError):  # without pyarrow, or pandas 2.2, which has NA only
                continue
    return made


def _dtypes(pd: Any) -> list[type]:
    numbers = [f"{sign}{bits}Dtype" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)]
    others = ["Float32Dtype", "Float64Dtype", "BooleanDtype", "StringDtype", "CategoricalDtype", "DatetimeTZDtype"]
    return [getattr(pd, name) for name in (*numbers, *others, "PeriodDtype", "IntervalDtype", "ArrowDtype")]


# --- columns ------------------------------------------------------------------------------------------------------


def write_column(values: Any, owner: object, place: str) -> object:
    """Return what travels for the values of a column or index: an array of NumPy or one that has a tag."""
    if type(values) is np.ndarray or encoder_for(type(values)) is not None:
        return values
    name = printable(type(values).__name__, 60)
    raise Refused(
        owner, f"its values are held by a {name}", _ADVICE.get(name, "Convert it with .astype(...)"), at=place
    )


_ADVICE = {"SparseArray": "Send .sparse.to_dense()"}


def read_column(values: object) -> Any:
    """Return received values of a column or index, if they can be such."""
    if type(values) is np.ndarray:
        unit_fits = values.dtype.kind not in "mM" or np.datetime_data(values.dtype)[0] in _UNITS
        if values.ndim == 1 and values.dtype.kind in "biufcmMO" and unit_fits:
            return values
    elif isinstance(values, pandas().api.extensions.ExtensionArray):
        return values
    raise Malformed("the values of a column are none that pandas could hold")


def is_hollow(index: Any, content: int) -> bool:
    """Return whether an index is a range of over a million labels, and of more than `content`, what it belongs to has.

    A range needs no bytes for its labels; memory for them would be taken when they are first looked at.
    """
    return type(index) is pandas().RangeIndex and len(index) > max(content, 2**20)


# --- arrays -------------------------------------------------------------------------------------------------------


def _masked(array: Any, sink: Sink) -> tuple[str, object]:
    return "pd.masked", [array._data, array._mask]


@decodes("pd.masked")
def _read_masked(payload: object, source: Source) -> object:
    data, mask = fields(payload, np.ndarray, np.ndarray)
    arrays = pandas().arrays
    kind = {"b": arrays.BooleanArray, "i": arrays.IntegerArray, "u": arrays.IntegerArray, "f": arrays.FloatingArray}
    if data.ndim != 1 or data.shape != mask.shape or data.dtype.kind not in kind or mask.dtype != bool:
        raise Malformed("a nullable array and its mask do not fit")
    return kind[data.dtype.kind](data, mask)


def _text_array(array: Any, sink: Sink) -> tuple[str, object]:
    dtype = array.dtype
    missing = "NA" if dtype.na_value is pandas().NA else "nan"
    if dtype.storage == "pyarrow":
        parts = _arrow_text(array.__arrow_array__(), sink)
    else:
        texts = array.to_numpy(dtype=object, na_value=None).tolist()
        parts = put_pieces([None if text is None else text.encode() for text in texts], sink)
    return "pd.text", [dtype.storage, missing, *parts]


def _arrow_text(chunked: Any, sink: Sink) -> list[bytes | int | None]:
    """Put the buffers of Arrow text as they are: `put_pieces` without Python strings."""
    import pyarrow

    if chunked.type != pyarrow.large_string():
        chunked = chunked.cast(pyarrow.large_string())
    text = chunked.combine_chunks() if chunked.num_chunks != 1 else chunked.chunk(0)
    if not len(text):
        return put_pieces([], sink)
    _, where, content = text.buffers()
    offsets = np.frombuffer(where, "<i8")[text.offset : text.offset + len(text) + 1]
    start, stop = int(offsets[0]), int(offsets[-1])
    if start:
        offsets = offsets - start
    absent = np.asarray(text.is_null()).view(np.uint8) if text.null_count else None
    return [
        sink.put(offsets.view(np.uint8).data, offsets.itemsize),
        sink.put(memoryview(content).cast("B")[start:stop] if stop > start else b""),
        None if absent is None else sink.put(absent.data),
    ]


@decodes("pd.text")
def _read_text_array(payload: object, source: Source) -> object:
    storage, missing, offsets_at, content_at, absent_at = fields(payload, str, str, object, object, object)
    pd = pandas()
    if storage not in ("python", "pyarrow") or missing not in ("NA", "nan"):
        raise Malformed("a column of text is of an unknown kind")
    offsets, content, absent = take_pieces(offsets_at, content_at, absent_at, source)
    dtype = pd.StringDtype(storage, *([np.nan] if missing == "nan" else []))
    if storage == "pyarrow":
        return dtype.__from_arrow__(_read_arrow_text(offsets, content, absent))
    texts = bytes(content)
    elements: list[str | None] = [
        str(texts[start:stop], "utf-8") for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    if absent is not None:
        elements = [None if gone else text for text, gone in zip(elements, absent, strict=True)]
    return pd.array(np.array(elements, dtype=object), dtype=dtype)


def _read_arrow_text(offsets: Array, content: bytes | memoryview, absent: bytes | memoryview | None) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingExtra("A column of text that Arrow holds", "table") from None
    valid = None
    if absent is not None:
        gone = np.frombuffer(absent, np.uint8)
        valid = pyarrow.py_buffer(np.packbits(gone == 0, bitorder="little").data)
    # Offsets are copied if they do not lie where Arrow may read them.
    where = pyarrow.py_buffer(np.require(offsets, requirements="A").data)
    text = pyarrow.LargeStringArray.from_buffers(len(offsets) - 1, where, pyarrow.py_buffer(content), valid)
    text.validate(full=True)
    return pyarrow.chunked_array([text])


def _arrow_backed(array: Any, sink: Sink) -> tuple[str, object]:
    return "pd.arrow", array.__arrow_array__()


@decodes("pd.arrow")
def _read_arrow_backed(payload: object, source: Source) -> object:
    pd = pandas()
    if type(payload).__name__ != "ChunkedArray":
        raise Malformed("a column that Arrow holds is no Arrow array")
    return pd.arrays.ArrowExtensionArray(payload)


def _numpy_backed(array: Any, sink: Sink) -> tuple[str, object]:
    return "pd.numpy", array.to_numpy()


@decodes("pd.numpy")
def _read_numpy_backed(payload: object, source: Source) -> object:
    if type(payload) is not np.ndarray or payload.ndim != 1:
        raise Malformed("an array of pandas is no array of one dimension")
    return pandas().arrays.NumpyExtensionArray(payload)


def _times(array: Any, sink: Sink) -> tuple[str, object]:
    zone = zone_of(array, getattr(array, "tz", None))
    return "pd.times", [array.asi8.view(f"{'M' if array.dtype.kind == 'M' else 'm'}8[{array.unit}]"), zone]


@decodes("pd.times")
def _read_times(payload: object, source: Source) -> object:
    times, zone = fields(payload, np.ndarray, object)
    pd = pandas()
    zone = zone_in(zone)
    if times.dtype.kind not in "mM" or (zone is not None and times.dtype.kind != "M"):
        raise Malformed("an array of times holds none")
    read_column(times)
    if zone is None:
        return pd.array(times, dtype=times.dtype, copy=False)
    dtype = pd.DatetimeTZDtype(np.datetime_data(times.dtype)[0], zone)
    return pd.array(times.astype(times.dtype.newbyteorder("="), copy=False).view("i8"), dtype=dtype, copy=False)


def _periods(array: Any, sink: Sink) -> tuple[str, object]:
    return "pd.periods", [_period_frequency(array, array.dtype.name[len("period[") : -1]), array.asi8]


def _period_frequency(culprit: Any, frequency: str) -> str:
    try:
        exact = _FREQUENCY.fullmatch(frequency) and pandas().PeriodDtype(frequency).freq == culprit.freq
    except ValueError:
        exact = False
    if not exact:
        raise Refused(culprit, f"its frequency {frequency:.40} has no exact text", "Use a frequency like D, M or Y")
    return frequency


@decodes("pd.periods")
def _read_periods(payload: object, source: Source) -> object:
    frequency, ordinals = fields(payload, str, np.ndarray)
    if ordinals.ndim != 1 or ordinals.dtype != np.int64:
        raise Malformed("periods are not numbered by int64")
    return pandas().PeriodIndex.from_ordinals(ordinals, freq=matching(frequency, _FREQUENCY)).array


def _intervals(array: Any, sink: Sink) -> tuple[str, object]:
    return "pd.intervals", [array.closed, array.left, array.right]


@decodes("pd.intervals")
def _read_intervals(payload: object, source: Source) -> object:
    closed, left, right = fields(payload, str, object, object)
    pd = pandas()
    if closed not in _CLOSED or not all(
        isinstance(end, pd.Index) and type(end) is not pd.RangeIndex for end in (left, right)
    ):
        raise Malformed("intervals have no two rows of ends")
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=closed)


def _categorical(array: Any, sink: Sink) -> tuple[str, object]:
    if is_hollow(array.categories, len(array)):
        raise Refused(array, "its categories are a range of more than a million", "Remove those that are not used")
    return "pd.categorical", [array.codes, array.categories, bool(array.ordered)]


@decodes("pd.categorical")
def _read_categorical(payload: object, source: Source) -> object:
    codes, categories, ordered = fields(payload, np.ndarray, object, bool)
    pd = pandas()
    if (
        codes.ndim != 1
        or codes.dtype.kind != "i"
        or not isinstance(categories, pd.Index)
        or is_hollow(categories, len(codes))
    ):
        raise Malformed("the codes or categories of a categorical array are none")
    return pd.Categorical.from_codes(codes, categories, ordered=ordered)


def _categorical_steps(array: Any) -> list[Step]:
    return [(".categories", array.categories)]


# --- scalars ------------------------------------------------------------------------------------------------------


def _timestamp(value: Any, sink: Sink) -> tuple[str, object]:
    return "pd.timestamp", [int(value.asm8.view("i8")), value.unit, zone_of(value, value.tzinfo), value.fold]


@decodes("pd.timestamp")
def _read_timestamp(payload: object, source: Source) -> object:
    number, unit, zone, fold = fields(payload, int, str, object, int)
    if unit not in _UNITS or number == _NOT_A_TIME or fold not in (0, 1):
        raise Malformed("a point in time is none")
    stamp = pandas().Timestamp(np.datetime64(number, unit))
    if zone is not None:
        return stamp.tz_localize("UTC").tz_convert(zone_in(zone))  # where fold is not free to choose
    return stamp.replace(fold=fold) if fold else stamp


def _timedelta(value: Any, sink: Sink) -> tuple[str, object]:
    return "pd.timedelta", [int(value.asm8.view("i8")), value.unit]


@decodes("pd.timedelta")
def _read_timedelta(payload: object, source: Source) -> object:
    number, unit = fields(payload, int, str)
    if unit not in _UNITS or number == _NOT_A_TIME:
        raise Malformed("a duration is none")
    return pandas().Timedelta(np.timedelta64(number, unit))


def _not_a_time(value: object, sink: Sink) -> tuple[str, object]:
    return "pd.nat", None


@decodes("pd.nat")
def _read_not_a_time(payload: object, source: Source) -> object:
    return pandas().NaT


def _not_available(value: object, sink: Sink) -> tuple[str, object]:
    return "pd.na", None


@decodes("pd.na")
def _read_not_available(payload: object, source: Source) -> object:
    return pandas().NA


def _period(value: Any, sink: Sink) -> tuple[str, object]:
    return "pd.period", [_period_frequency(value, value.freqstr), value.ordinal]


@decodes("pd.period")
def _read_period(payload: object, source: Source) -> object:
    frequency, ordinal = fields(payload, str, int)
    if ordinal == _NOT_A_TIME:
        raise Malformed("a period is none")
    return pandas().Period(ordinal=ordinal, freq=matching(frequency, _FREQUENCY))


def _interval(value: Any, sink: Sink) -> tuple[str, object]:
    return "pd.interval", [value.left, value.right, value.closed]


@decodes("pd.interval")
def _read_interval(payload: object, source: Source) -> object:
    left, right, closed = fields(payload, object, object, str)
    return pandas().Interval(left, right, closed)


# --- dtypes and frequencies ---------------------------------------------------------------------------------------


def _dtype(dtype: Any, sink: Sink) -> tuple[str, object]:
    empty = pandas().array([], dtype=dtype)
    if empty.dtype != dtype or repr(empty.dtype) != repr(dtype):
        raise Refused(
            dtype, f"it says less than an array of it has to ({dtype!r:.60})", "Name its categories or subtype"
        )
    return "pd.dtype", empty


@decodes("pd.dtype")
def _read_dtype(payload: Any, source: Source) -> object:
    if type(payload) is np.ndarray or len(read_column(payload)):
        raise Malformed("a dtype of pandas is not given by an empty array of it")
    return payload.dtype


def write_frequency(index: Any) -> str | None:
    """Return the frequency of an index of times as text."""
    if index.freq is None:
        return None
    to_offset = pandas().tseries.frequencies.to_offset
    text = index.freq.freqstr
    try:
        exact = _FREQUENCY.fullmatch(text) and to_offset(text) == index.freq
    except ValueError:
        exact = False
    if not exact:
        raise Refused(index, f"it has no exact text ({text:.40})", "Set it to None", at=".freq")
    return str(text)


def set_frequency(index: Any, frequency: str) -> None:
    """Give a received index of times the received frequency, if its times have it."""
    pd = pandas()
    if type(index) not in (pd.DatetimeIndex, pd.TimedeltaIndex):
        raise Malformed("an index of no times has a frequency")
    index.freq = pd.tseries.frequencies.to_offset(matching(frequency, _FREQUENCY))
