"""Tags for pandas tables: DataFrame, Series, and every kind of index.

A table is its index, its columns' labels, and its columns; those of one NumPy dtype travel together as one array of
two dimensions, as pandas keeps them.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from types import NoneType
from typing import Any

import numpy as np

from ..errors import Malformed
from .arrays import Array
from .columns import is_hollow, pandas, read_column, register, set_frequency, write_column, write_frequency
from .frame import Sink, Source
from .places import brief
from .plain import refuse_collisions
from .tags import ENCODERS, LATE, STEPS, Inner, Refused, Step, decodes, fields

__all__ = ["read_frame", "read_series", "write_frame", "write_series"]


def _register() -> None:
    pd = sys.modules.get("pandas")
    if pd is None or not hasattr(pd, "DataFrame") or not hasattr(pd, "arrays"):  # being imported by another thread
        return
    register()
    ENCODERS.update({pd.DataFrame: _frame, pd.Series: _series, pd.RangeIndex: _range, pd.MultiIndex: _multi})
    STEPS.update({pd.DataFrame: _frame_steps, pd.Series: _series_steps, pd.MultiIndex: _multi_steps})
    simple = (pd.Index, pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex, pd.IntervalIndex, pd.CategoricalIndex)
    ENCODERS.update(dict.fromkeys(simple, _index))
    STEPS.update(dict.fromkeys((*simple, pd.RangeIndex), _index_steps))


LATE["pandas"] = _register


def _place_of(name: Hashable) -> str:
    """Return the place of a column, as one would write it."""
    parts = [brief(part.item() if isinstance(part, np.generic) else part) for part in _parts_of(name)]
    return f"[({', '.join(parts)})]" if type(name) is tuple else f"[{parts[0]}]"


def _parts_of(name: Hashable) -> tuple[Hashable, ...]:
    return name[:8] if type(name) is tuple else (name,)


# --- indexes ------------------------------------------------------------------------------------------------------


def _values(labelled: Any) -> Any:
    """Return the values of a Series or Index: of NumPy if its dtype is, else pandas' own array."""
    return labelled.to_numpy() if isinstance(labelled.dtype, np.dtype) else labelled.array


def _index(index: Any, sink: Sink) -> tuple[str, object]:
    frequency = write_frequency(index) if hasattr(index, "freq") and index.dtype.kind in "mM" else None
    values = Inner(index, "", write_column(_values(index), index, ""))
    return "pd.index", [values, index.name, frequency]


@decodes("pd.index")
def _read_index(payload: object, source: Source) -> object:
    values, name, frequency = fields(payload, object, object, (NoneType, str))
    pd = pandas()
    if type(read_column(values)) is np.ndarray and values.dtype == object:
        _refuse_collisions(values.tolist())
        index = pd.Index(values, dtype=object, name=name, copy=False, tupleize_cols=False)
    else:
        index = pd.Index(values, name=name, copy=False)
    if frequency is not None:
        set_frequency(index, frequency)
    return index


def _refuse_collisions(labels: list[Any]) -> None:
    try:
        refuse_collisions(labels)
    except TypeError:  # a label has no hash, so that pandas can not look up any
        pass


def _range(index: Any, sink: Sink) -> tuple[str, object]:
    return "pd.range", [index.start, index.stop, index.step, index.name]


@decodes("pd.range")
def _read_range(payload: object, source: Source) -> object:
    start, stop, step, name = fields(payload, int, int, int, object)
    return pandas().RangeIndex(start, stop, step, name=name)


def _multi(index: Any, sink: Sink) -> tuple[str, object]:
    if any(is_hollow(level, len(index)) for level in index.levels):
        raise Refused(index, "a level is a range of more than a million labels", "Send .remove_unused_levels()")
    levels = [Inner(index, f".levels[{at}]", level) for at, level in enumerate(index.levels)]
    return "pd.multi", [levels, [np.asarray(codes) for codes in index.codes], list(index.names)]


@decodes("pd.multi")
def _read_multi(payload: object, source: Source) -> object:
    levels, codes, names = fields(payload, list, list, list)
    pd = pandas()
    if not levels or not all(isinstance(level, pd.Index) and not isinstance(level, pd.MultiIndex) for level in levels):
        raise Malformed("a level of an index is none")
    if not all(type(code) is np.ndarray and code.ndim == 1 and code.dtype.kind == "i" for code in codes):
        raise Malformed("the codes of an index are no integers")
    if any(is_hollow(level, len(codes[0])) for level in levels if codes):
        raise Malformed("a level of an index has more than a million labels without content")
    return pd.MultiIndex(levels=levels, codes=codes, names=names)  # which checks that they fit


def _read_any_index(payload: object) -> Any:
    if not isinstance(payload, pandas().Index):
        raise Malformed("an index is none")
    return payload


def _index_steps(index: Any) -> Iterator[Step]:
    yield ".name", index.name
    if index.dtype == object:
        yield "", index.to_numpy()


def _multi_steps(index: Any) -> Iterator[Step]:
    yield ".names", list(index.names)
    for at, level in enumerate(index.levels):
        yield f".levels[{at}]", level


# --- series and tables --------------------------------------------------------------------------------------------


def _series(series: Any, sink: Sink) -> tuple[str, object]:
    return "pd.series", write_series(series)


def write_series(series: Any) -> list[object]:
    """Return the payload of a Series."""
    values = Inner(series, "", write_column(_values(series), series, ""))
    return [values, Inner(series, ".index", series.index), series.name, *_extras(series)]


def _extras(labelled: Any) -> tuple[dict[Any, Any], bool]:
    return labelled.attrs, labelled.flags.allows_duplicate_labels


@decodes("pd.series")
def _read_series(payload: object, source: Source) -> object:
    return read_series(payload)


def read_series(payload: object) -> Any:
    """Return the Series of a received payload."""
    values, index, name, attrs, duplicates = fields(payload, object, object, object, dict, bool)
    series = _made_series(read_column(values), _read_any_index(index))
    series.name = name
    return _finished(series, attrs, duplicates)


def _made_series(values: Any, index: Any) -> Any:
    if len(values) != len(index):
        raise Malformed(f"{len(values)} values have an index of {len(index)}")
    # The dtype is told, because pandas takes objects that all are text for a column of text.
    return pandas().Series(values, index=index, dtype=values.dtype, copy=False)


def _finished(labelled: Any, attrs: dict[Any, Any], duplicates: bool) -> Any:
    labelled.attrs = attrs
    if not duplicates:
        labelled.flags.allows_duplicate_labels = False
    return labelled


def _frame(frame: Any, sink: Sink) -> tuple[str, object]:
    return "pd.df", write_frame(frame)


def write_frame(frame: Any) -> list[object]:
    """Return the payload of a DataFrame."""
    if not frame.shape[1] and is_hollow(frame.index, 0):
        raise Refused(frame, "it has more than a million rows and no columns", "Send its index")
    parts = [[numbers, values] for numbers, values in _parts(frame)]
    columns, index = Inner(frame, ".columns", frame.columns), Inner(frame, ".index", frame.index)
    return [columns, index, parts, *_extras(frame)]


def _parts(frame: Any) -> Iterator[tuple[list[int], Inner]]:
    """Go through the columns of a table: numbers and times by dtype, others one by one."""
    alike: dict[np.dtype[Any], list[int]] = {}
    for number, dtype in enumerate(frame.dtypes.tolist()):
        if isinstance(dtype, np.dtype) and dtype.kind in "biufcmM":
            alike.setdefault(dtype, []).append(number)
        else:
            place = _place_of(frame.columns[number])
            values = write_column(_values(frame.iloc[:, number]), frame, place)
            yield [number], Inner(frame, place, values)
    for numbers in alike.values():
        if len(numbers) == 1:
            together = frame.iloc[:, numbers[0]].to_numpy()
        else:
            together = (frame if len(numbers) == frame.shape[1] else frame.iloc[:, numbers]).to_numpy()
        yield numbers, Inner(frame, _place_of(frame.columns[numbers[0]]), together)


@decodes("pd.df")
def _read_frame(payload: object, source: Source) -> object:
    return read_frame(payload)


def read_frame(payload: object) -> Any:
    """Return the DataFrame of a received payload."""
    columns, index, parts, attrs, duplicates = fields(payload, object, object, list, dict, bool)
    columns, index = _read_any_index(columns), _read_any_index(index)
    numbered: list[Any] = []
    together: list[tuple[list[Any], Array]] = []
    alone: dict[Any, Any] = {}
    for part in parts:
        numbers, values = fields(part, list, object)
        numbered += numbers
        if type(values) is np.ndarray and values.ndim == 2:
            together.append((numbers, _checked_columns(values, (len(index), len(numbers)))))
        elif len(numbers) == 1:
            alone[numbers[0]] = _made_series(read_column(values), index)
        else:
            raise Malformed("one column of a table has several numbers")
    if set(map(type, numbered)) - {int} or len(numbered) != len(columns) or sorted(numbered) != [*range(len(numbered))]:
        raise Malformed("the columns of a table are not numbered one by one")
    if not numbered and is_hollow(index, 0):
        raise Malformed("a table has more than a million rows and no columns")
    frame = _joined(together, alone, index)
    frame.columns = columns
    return _finished(frame, attrs, duplicates)


def _checked_columns(values: Array, shape: tuple[int, int]) -> Array:
    if values.shape != shape or values.dtype == object:
        raise Malformed("columns of one dtype are no array of rows and columns")
    read_column(values.reshape(-1)[:0])
    return values


def _joined(together: list[tuple[list[int], Array]], alone: dict[int, Any], index: Any) -> Any:
    """Return the table of all columns under their numbers; those that came together stay together."""
    pd = pandas()
    tables = [pd.DataFrame(values, index=index, columns=numbers, copy=False) for numbers, values in together]
    if alone or not tables:
        tables.append(pd.DataFrame(alone, index=index, copy=False))
    if len(tables) == 1 and list(tables[0].columns) == [*range(tables[0].shape[1])]:
        return tables[0]
    joined = pd.concat(tables, axis=1)
    joined = joined[[*range(joined.shape[1])]]
    joined.index = index
    return joined


def _frame_steps(frame: Any) -> Iterator[Step]:
    yield ".attrs", frame.attrs
    yield ".columns", frame.columns
    yield ".index", frame.index
    for number, dtype in enumerate(frame.dtypes.tolist()):
        place = _place_of(frame.columns[number])
        if dtype.kind == "O" and (isinstance(dtype, np.dtype) or dtype.name == "category"):
            yield place, _values(frame.iloc[:, number])


def _series_steps(series: Any) -> Iterator[Step]:
    yield ".attrs", series.attrs
    yield ".name", series.name
    yield ".index", series.index
    if series.dtype.kind == "O" and (isinstance(series.dtype, np.dtype) or series.dtype.name == "category"):
        yield "", _values(series)
