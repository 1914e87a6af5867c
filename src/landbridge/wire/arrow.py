"""Tags for Arrow: what pyarrow and polars hold, as one Arrow IPC stream in a buffer.

A stream from elsewhere is looked through by `arrowstream` before pyarrow sees it, and validated in full after. The
second is no luxury: a few changed bytes in a stream that was only read crash the interpreter.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import Malformed, MissingExtra, printable
from .arrowstream import MAX_BATCHES_WITH_DICTIONARIES, MAX_DEPTH, MAX_FIELDS, check_stream
from .frame import Sink, Source
from .places import brief
from .tags import ENCODERS, LATE, Refused, decodes, fields
from .times import ZONE

__all__: list[str] = []

_ZONE_OR_OFFSET = re.compile(rf"{ZONE.pattern}|[+-][0-9]{{2}}:?[0-9]{{2}}")
_ITEMS_WITHOUT_CONTENT = 2**20


def _register_pyarrow() -> None:
    pyarrow = _pyarrow()
    ENCODERS[pyarrow.Table] = _table
    ENCODERS[pyarrow.RecordBatch] = _batch
    ENCODERS[pyarrow.ChunkedArray] = _chunked
    ENCODERS[pyarrow.Schema] = _schema
    ENCODERS[pyarrow.Field] = _field
    for cls in list(vars(pyarrow.lib).values()):
        for base, encoder in ((pyarrow.Array, _array), (pyarrow.Scalar, _scalar), (pyarrow.DataType, _type)):
            if isinstance(cls, type) and issubclass(cls, base):
                ENCODERS[cls] = encoder


def _register_polars() -> None:
    polars = sys.modules.get("polars")
    if polars is not None and hasattr(polars, "DataFrame"):
        ENCODERS.update({polars.DataFrame: _polars_frame, polars.Series: _polars_series})


LATE["pyarrow"] = _register_pyarrow
LATE["polars"] = _register_polars


# --- writing ------------------------------------------------------------------------------------------------------


def _pack(schema: Any, batches: Iterable[Any], sink: Sink, owner: object, *, named: bool = True) -> bytes | int:
    """Put an Arrow stream into a buffer; `named` says whether its columns have a place in `owner`."""
    import pyarrow

    left = [MAX_FIELDS]
    for field in schema:
        _check_type(field.type, owner, f"[{brief(field.name)}]" if named else "", left)
    out = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(out, schema, options=pyarrow.ipc.IpcWriteOptions(compression=None)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    data = memoryview(out.getvalue()).cast("B")
    try:
        check_stream(data)  # what a receiver would refuse is refused here
    except Malformed as error:
        raise Refused(owner, f"as an Arrow stream it would be refused ({error.reason})") from None
    return sink.put(data)


def _batches(table: Any) -> list[Any]:
    batches: list[Any] = table.to_batches()
    if len(batches) > MAX_BATCHES_WITH_DICTIONARIES and any(_has_dictionary(kind) for kind in table.schema.types):
        batches = table.combine_chunks().to_batches()
    return batches


def _has_dictionary(kind: Any) -> bool:
    import pyarrow

    return pyarrow.types.is_dictionary(kind) or any(_has_dictionary(inner) for inner in _inner_types(kind))


def _inner_types(kind: Any) -> list[Any]:
    import pyarrow

    if pyarrow.types.is_dictionary(kind):
        return [kind.value_type]
    return [kind.field(at).type for at in range(kind.num_fields)]


def _check_type(kind: Any, owner: object, place: str, left: list[int], depth: int = 0) -> None:
    import pyarrow

    left[0] -= 1
    if left[0] < 0 or depth > MAX_DEPTH:
        many = f"it has more than {MAX_FIELDS:,} columns" if left[0] < 0 else f"its type nests {MAX_DEPTH} levels deep"
        raise Refused(owner, many, "Send it in parts", at=place)
    if isinstance(kind, pyarrow.BaseExtensionType):
        name = getattr(kind, "extension_name", type(kind).__name__)
        raise Refused(owner, f"its type is Arrow's extension {name!r:.60}", "Send its storage", at=place)
    if not _travels(kind):
        raise Refused(owner, f"its Arrow type is {kind!s:.60}", f"Cast it to {_INSTEAD}", at=place)
    if pyarrow.types.is_timestamp(kind) and kind.tz is not None and not _ZONE_OR_OFFSET.fullmatch(kind.tz):
        raise Refused(owner, f"its time zone is {kind.tz!r:.60}", "Use a key of the IANA database", at=place)
    for inner in _inner_types(kind):
        _check_type(inner, owner, place, left, depth + 1)


_INSTEAD = "a list or large_list, string or large_string, binary or large_binary, or a plain type"
_REFUSED_TYPES = (
    "is_union", "is_run_end_encoded", "is_string_view", "is_binary_view", "is_list_view", "is_large_list_view",
)  # fmt: skip


def _travels(kind: Any) -> bool:
    import pyarrow

    return not any(getattr(pyarrow.types, name)(kind) for name in _REFUSED_TYPES if hasattr(pyarrow.types, name))


def _table(table: Any, sink: Sink) -> tuple[str, object]:
    return "pa.table", _pack(table.schema, _batches(table), sink, table)


def _batch(batch: Any, sink: Sink) -> tuple[str, object]:
    return "pa.batch", _pack(batch.schema, [batch], sink, batch)


def _schema(schema: Any, sink: Sink) -> tuple[str, object]:
    return "pa.schema", _pack(schema, [], sink, schema)


def _field(field: Any, sink: Sink) -> tuple[str, object]:
    return "pa.field", _pack(_pyarrow().schema([field]), [], sink, field, named=False)


def _type(kind: Any, sink: Sink) -> tuple[str, object]:
    return "pa.type", _pack(_one_field(kind), [], sink, kind, named=False)


def _one_field(kind: Any) -> Any:
    return _pyarrow().schema([("", kind)])


def _pack_column(array: Any, sink: Sink, owner: object) -> bytes | int:
    """Put a `pyarrow.ChunkedArray` into a buffer."""
    schema = _one_field(array.type)
    return _pack(schema, _batches(_pyarrow().table([array], schema=schema)), sink, owner, named=False)


def _chunked(array: Any, sink: Sink) -> tuple[str, object]:
    return "pa.chunked", _pack_column(array, sink, array)


def _array(array: Any, sink: Sink) -> tuple[str, object]:
    batch = _pyarrow().record_batch([array], schema=_one_field(array.type))
    return "pa.array", _pack(batch.schema, [batch], sink, array, named=False)


def _scalar(value: Any, sink: Sink) -> tuple[str, object]:
    _check_type(value.type, value, "", [MAX_FIELDS])
    array = _pyarrow().array([value], type=value.type) if value.is_valid else _pyarrow().nulls(1, value.type)
    return "pa.scalar", _pack_column(_pyarrow().chunked_array([array]), sink, value)


# --- reading ------------------------------------------------------------------------------------------------------


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise MissingExtra("An Arrow table", "table") from None
    return pyarrow


def _unpack(payload: object, source: Source) -> tuple[Any, list[Any]]:
    """Return schema and record batches of a received stream, whose every byte is as it has to be."""
    pyarrow = _pyarrow()
    data = source.take(payload)
    check_stream(data)
    if np.frombuffer(data, "u1").ctypes.data % 8:
        data = bytes(data)  # the frame was put somewhere odd; Arrow reads numbers where they lie
    with pyarrow.ipc.open_stream(pyarrow.py_buffer(data)) as reader:
        schema = reader.schema
        left = [MAX_FIELDS]
        for field in schema:
            _check_received(field.type, left)
        batches = list(reader)
    budget = _ITEMS_WITHOUT_CONTENT + 8 * len(data)
    for batch in batches:
        batch.validate(full=True)
        for column in batch.columns:
            budget = _spend(column, budget)
        budget -= batch.num_rows
    if budget < 0:
        raise Malformed("an Arrow stream has many more items than content")
    return schema, batches


def _unpack_table(payload: object, source: Source) -> Any:
    schema, batches = _unpack(payload, source)
    return _pyarrow().Table.from_batches(batches, schema=schema)


def _check_received(kind: Any, left: list[int]) -> None:
    try:
        _check_type(kind, None, "", left)
    except Refused as refused:
        raise Malformed(f"a type in an Arrow stream does not travel: {refused.reason}") from None


def _spend(array: Any, budget: int) -> int:
    """Return what is left of `budget` after the items of `array`; some kinds need no bytes for any number of them."""
    budget -= len(array)
    for inner in _inner_arrays(array):
        budget = _spend(inner, budget)
    return budget


def _inner_arrays(array: Any) -> Iterable[Any]:
    import pyarrow

    if isinstance(array, pyarrow.StructArray):
        return [array.field(at) for at in range(array.type.num_fields)]
    if isinstance(array, pyarrow.DictionaryArray):
        return [array.dictionary]
    if isinstance(array, pyarrow.MapArray):
        return [array.keys, array.items]
    if isinstance(array, (pyarrow.ListArray, pyarrow.LargeListArray, pyarrow.FixedSizeListArray)):
        return [array.values]
    return ()


def _unpack_column(payload: object, source: Source) -> Any:
    schema, batches = _unpack(payload, source)
    if len(schema) != 1:
        raise Malformed("a stream of one Arrow array has another number of columns")
    return _pyarrow().chunked_array([batch.column(0) for batch in batches], type=schema.field(0).type)


def _unpack_empty(payload: object, source: Source) -> Any:
    schema, batches = _unpack(payload, source)
    if batches:
        raise Malformed("an Arrow schema comes with rows")
    return schema


@decodes("pa.table")
def _read_table(payload: object, source: Source) -> object:
    return _unpack_table(payload, source)


@decodes("pa.batch")
def _read_batch(payload: object, source: Source) -> object:
    _, batches = _unpack(payload, source)
    if len(batches) != 1:
        raise Malformed("an Arrow record batch is not one")
    return batches[0]


@decodes("pa.schema")
def _read_schema(payload: object, source: Source) -> object:
    return _unpack_empty(payload, source)


@decodes("pa.field")
def _read_field(payload: object, source: Source) -> object:
    schema = _unpack_empty(payload, source)
    if len(schema) != 1:
        raise Malformed("an Arrow field is not one")
    return schema.field(0)


@decodes("pa.type")
def _read_type(payload: object, source: Source) -> object:
    schema = _unpack_empty(payload, source)
    if len(schema) != 1:
        raise Malformed("an Arrow type is not one")
    return schema.field(0).type


@decodes("pa.chunked")
def _read_chunked(payload: object, source: Source) -> object:
    return _unpack_column(payload, source)


@decodes("pa.array")
def _read_array(payload: object, source: Source) -> object:
    column = _unpack_column(payload, source)
    if column.num_chunks != 1:
        raise Malformed("an Arrow array is not in one piece")
    return column.chunk(0)


@decodes("pa.scalar")
def _read_scalar(payload: object, source: Source) -> object:
    column = _unpack_column(payload, source)
    if len(column) != 1:
        raise Malformed("an Arrow scalar is not one item")
    return column[0]


# --- polars -------------------------------------------------------------------------------------------------------


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise MissingExtra("A polars table", "polars") from None
    return polars


def _check_polars(series: Any, owner: object, place: str) -> None:
    """Refuse a column that Arrow would bring back as another type."""
    polars = _polars()
    try:
        back = polars.from_arrow(series.clear().to_arrow(compat_level=polars.CompatLevel.oldest())).dtype
    except (Exception, polars.exceptions.PanicException):  # polars has no one type for what Arrow can not hold
        back = None
    if back != series.dtype:
        raise Refused(owner, f"its polars type is {series.dtype!s:.60}", "Cast it, for example to String", at=place)


def _polars_frame(frame: Any, sink: Sink) -> tuple[str, object]:
    polars = _polars()
    for series in frame.iter_columns():
        _check_polars(series, frame, f"[{brief(series.name)}]")
    table = frame.to_arrow(compat_level=polars.CompatLevel.oldest())
    return "pl.df", _pack(table.schema, _batches(table), sink, frame)


def _polars_series(series: Any, sink: Sink) -> tuple[str, object]:
    polars = _polars()
    _check_polars(series, series, "")
    array = series.to_arrow(compat_level=polars.CompatLevel.oldest())
    return "pl.series", [series.name, _pack_column(_pyarrow().chunked_array([array]), sink, series)]


def _from_arrow(arrow: Any) -> Any:
    polars = _polars()
    try:
        return polars.from_arrow(arrow)
    except polars.exceptions.PanicException as error:  # which is no Exception
        raise Malformed(f"polars can not hold what Arrow does: {printable(error, 100)}") from None


@decodes("pl.df")
def _read_polars_frame(payload: object, source: Source) -> object:
    return _polars().DataFrame(_from_arrow(_unpack_table(payload, source)))


@decodes("pl.series")
def _read_polars_series(payload: object, source: Source) -> object:
    name, data = fields(payload, str, object)
    return _polars().Series(name, _from_arrow(_unpack_column(data, source)))
