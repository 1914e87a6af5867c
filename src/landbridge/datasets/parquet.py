"""One column of a Parquet file as a variable that is read when asked for, a batch of rows at a time.

pandas chooses the dtype of a column by whether values are missing in it, so a part of a column must not choose its
own: missing values are counted in the statistics of the file (or, if it has none, once by reading), and every part is
brought to the dtype that the whole column would have.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow
import pyarrow.parquet
from xarray import Variable
from xarray.backends import BackendArray
from xarray.core import indexing

from .tables import values_of, zone_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["column_variable"]

_BATCH_ROWS = 65536


def column_variable(path: str, dim: str, schema: Any, metadata: Any, name: str) -> xr.Variable:
    """Return one column as a lazily loaded variable of one dimension.

    Parameters
    ----------
    path : str
        The file.
    dim : str
        Name of the dimension.
    schema, metadata : pyarrow.Schema, pyarrow.parquet.FileMetaData
        Of the file.
    name : str
        Of the column.
    """
    column = _Column(path, schema, metadata, name)
    rows = max((metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)), default=0)
    encoding = {"preferred_chunks": {dim: rows}} if rows else {}
    return Variable((dim,), indexing.LazilyIndexedArray(column), zone_of(column.series_of(0)), encoding)


class _Column(BackendArray):
    """A column of a Parquet file, as xarray's backends hand arrays over."""

    def __init__(self, path: str, schema: Any, metadata: Any, name: str) -> None:
        self.path, self.metadata, self.name = path, metadata, name
        self.schema = _schema_of_one(schema, name)
        self.shape = (metadata.num_rows,)
        self.starts = [0, *itertools.accumulate(self.metadata.row_group(i).num_rows for i in range(self.groups))]
        whole, missing = (values_of(self.series_of(nulls)).dtype for nulls in (0, 1))
        self.dtype = whole if whole == missing or not self._missing() else missing

    @property
    def groups(self) -> int:
        return int(self.metadata.num_row_groups)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        if not isinstance(key[0], slice):
            row = int(key[0]) % self.shape[0]
            return self._rows(row, row + 1)[0]
        rows = range(self.shape[0])[key[0]]
        if not rows:
            return np.empty(0, self.dtype)
        low, high = min(rows[0], rows[-1]), max(rows[0], rows[-1]) + 1
        return self._rows(low, high)[:: rows.step] if rows.step > 0 else self._rows(low, high)[::-1][:: -rows.step]

    def _rows(self, low: int, high: int) -> np.ndarray[Any, Any]:
        out = np.empty(high - low, self.dtype)
        groups = [i for i in range(self.groups) if self.starts[i] < high and self.starts[i + 1] > low]
        start = self.starts[groups[0]]
        for batch in self._batches(groups):
            stop = start + len(batch)
            if stop > low:
                first, last = max(low, start), min(high, stop)
                out[first - low : last - low] = values_of(self._series(batch.slice(first - start, last - first)))
            start = stop
            if start >= high:
                break
        return out

    def _batches(self, groups: list[int]) -> Any:
        with pyarrow.parquet.ParquetFile(self.path, metadata=self.metadata) as file:
            for batch in file.iter_batches(_BATCH_ROWS, groups, [self.name], use_threads=False):
                yield batch.column(0)

    def series_of(self, nulls: int) -> Any:
        """Return a pandas Series of missing values as this column has them."""
        return self._series(pyarrow.nulls(nulls, self.schema.field(0).type))

    def _series(self, column: Any) -> Any:
        return pyarrow.Table.from_arrays([column], schema=self.schema).to_pandas().iloc[:, 0]

    def _missing(self) -> bool:
        counts = [self._missing_in(group) for group in range(self.groups)]
        if None in counts:
            return any(batch.null_count for batch in self._batches(list(range(self.groups))))
        return any(counts)

    def _missing_in(self, group: int) -> int | None:
        described = self.metadata.row_group(group)
        for number in range(described.num_columns):
            column = described.column(number)
            if column.path_in_schema == self.name:
                known = column.statistics
                return known.null_count if known is not None and known.has_null_count else None
        return None


def _schema_of_one(schema: Any, name: str) -> Any:
    """Return a schema of this column alone, with what pandas wrote of it, but not that it was an index."""
    about = schema.pandas_metadata
    if about is not None:
        columns = [column for column in about["columns"] if column.get("field_name", column["name"]) == name]
        about = {b"pandas": json.dumps({**about, "index_columns": [], "columns": columns}).encode()}
    return pyarrow.schema([schema.field(name)], metadata=about)
