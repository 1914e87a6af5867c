"""Tables as data sets: a column is a variable, a row a place along their one dimension.

The dimension is ``row``, or has the name of the table's index, whose values are then its coordinate. Values are those
that pandas' ``to_xarray`` gives, in NumPy dtypes: missing integers make a column float64, texts are objects. Times with
a zone are given in UTC, and the attribute ``time_zone`` says in which they were: NumPy has no such times. Where pandas
has ``pandas.NA`` among objects there is None.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingExtra, NothingToServe, TooLarge

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CSV_BYTES", "from_frame", "open_csv", "open_parquet", "values_of", "zone_of"]

CSV_BYTES = 256 * 1024 * 1024
"""The largest CSV file that is served: it is held in memory."""

_INDEX_BYTES = 8 * 1024 * 1024  # an index travels whole when a data set is opened; a larger one is a plain coordinate


def from_frame(frame: Any) -> xr.Dataset:
    """Return a pandas DataFrame as a data set in memory.

    Raises
    ------
    NothingToServe
        Its index has several levels, or two columns have one name.
    """
    import pandas
    import xarray

    if frame.index.nlevels > 1:
        raise NothingToServe(
            "A table whose index has several levels cannot be served as it is: as a data set it would have one "
            "dimension for each. Return frame.reset_index(), or frame.to_xarray() if that is what you want"
        )
    _refuse_twins([*frame.columns])
    plain = isinstance(frame.index, pandas.RangeIndex) and frame.index.name is None
    dim = "row" if frame.index.name is None else frame.index.name
    columns = {name: (dim, values_of(frame[name]), zone_of(frame[name])) for name in frame.columns}
    if plain:
        return xarray.Dataset(columns)
    index = frame.index.to_series().reset_index(drop=True)
    return _with_index(columns, dim, values_of(index), zone_of(index))


def open_csv(path: str) -> xr.Dataset:
    """Return a CSV or TSV file as a data set in memory: what `pandas.read_csv` makes of it.

    Raises
    ------
    TooLarge
        The file has more than `CSV_BYTES`.
    MissingExtra
        pandas is not installed.
    """
    size_bytes = os.path.getsize(path)
    if size_bytes > CSV_BYTES:
        advice = "Write it as Parquet, of which parts are read: pandas.read_csv(...).to_parquet('table.parquet')"
        raise TooLarge(f"The table {os.path.basename(path)}", size_bytes, CSV_BYTES, advice)
    try:
        import pandas
        import xarray  # noqa: F401 - to see whether it is there
    except ImportError:
        raise MissingExtra("Serving a table", "table,xarray") from None
    return from_frame(pandas.read_csv(path, sep="\t" if path.lower().endswith(".tsv") else ","))


def open_parquet(path: str) -> xr.Dataset:
    """Return a Parquet file as a data set whose columns are read when asked for, by row groups.

    Raises
    ------
    MissingExtra
        pyarrow or pandas is not installed.
    """
    try:
        import pandas  # noqa: F401 - to see whether it is there
        import pyarrow.parquet
        import xarray
    except ImportError:
        raise MissingExtra("Serving a Parquet file", "table,xarray") from None
    from .parquet import column_variable

    with pyarrow.parquet.ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
    _refuse_twins(schema.names)
    described = (schema.pandas_metadata or {}).get("index_columns", [])
    held = [name for name in described if isinstance(name, str) and name in schema.names]
    index = held[0] if len(held) == 1 and len(described) == 1 else None
    named = index is not None and not index.startswith("__index_level_")
    dim = index if named and index is not None else "row"
    columns = {name: column_variable(path, dim, schema, metadata, name) for name in schema.names if name != index}
    if index is None:
        return xarray.Dataset(columns).set_coords(held)
    variable = column_variable(path, dim, schema, metadata, index)
    if variable.nbytes > _INDEX_BYTES:
        return xarray.Dataset(columns, coords=xarray.Coordinates({dim: variable}, indexes={}))
    return _with_index(columns, dim, variable.values, variable.attrs)


def _with_index(columns: dict[Any, Any], dim: Any, index: np.ndarray[Any, Any], attrs: dict[Any, Any]) -> xr.Dataset:
    import xarray

    if dim in columns:
        raise NothingToServe(f"A table whose index and one of whose columns are both named {dim!r} cannot be served")
    return xarray.Dataset(columns, coords={dim: (dim, index, attrs)})


def _refuse_twins(names: list[Any]) -> None:
    twice = sorted({str(name) for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise NothingToServe(f"A table in which two columns are named {twice[0][:80]!r} cannot be served. Rename one")


def values_of(series: Any) -> np.ndarray[Any, Any]:
    """Return a pandas Series as `to_xarray` makes it, but with nothing that only pandas has."""
    if zone_of(series):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    values = np.asarray(series.to_frame("column").to_xarray()["column"].values)
    if values.dtype == object and type(getattr(series.dtype, "na_value", None)).__name__ == "NAType":
        values = values.copy()
        values[series.isna().to_numpy()] = None  # pandas.NA means nothing elsewhere
    return values


def zone_of(series: Any) -> dict[str, str]:
    """Return the attributes of a column: its time zone, if it has one."""
    zone = getattr(series.dtype, "tz", None)
    return {} if zone is None else {"time_zone": str(zone)}
