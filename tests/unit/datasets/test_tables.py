"""Tables arrive as pandas makes data sets of them, read by column and by rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import xarray as xr

from landbridge.datasets import tables
from landbridge.datasets.sources import file_source, function_source
from landbridge.datasets.view import BLOCK_BYTES
from landbridge.errors import NothingToServe, TooLarge
from unit.datasets.reader import WHOLE, read_back, there_and_back

TARGET = "geomar/stations.data"
N = 3000


def stations() -> pd.DataFrame:
    def repeated(values):
        return values * (N // len(values))

    return pd.DataFrame(
        {
            "name": repeated(["Kiel", None, "Bergen é"]),
            "level": np.arange(N, dtype="u1"),
            "depth": repeated([1.5, np.nan, -2.0]),
            "count": pd.array(repeated([1, None, 3]), dtype="Int64"),
            "full_count": pd.array(repeated([1, 2, 3]), dtype="Int64"),
            "open": repeated([True, False, True]),
            "maybe": repeated([True, None, False]),
            "kind": pd.Categorical(repeated(["buoy", "ship", None])),
            "group": pd.Categorical(repeated([1, 2, 3])),
            "since": pd.to_datetime(repeated(["2020-01-01", None, "2021-01-01T12:00:00.5"]), format="ISO8601"),
            "lag": pd.to_timedelta(repeated([1, 2, None]), unit="h"),
        }
    )


def as_pandas_makes_it(frame: pd.DataFrame) -> xr.Dataset:
    made = frame.to_xarray()
    made = xr.Dataset({name: (v.dims, np.asarray(v.values)) for name, v in made.data_vars.items()}, coords=made.coords)
    return made if frame.index.name else made.drop_vars("index").rename(index="row")


def assert_served(path, expected: xr.Dataset) -> None:
    source = file_source(TARGET, path)
    found = read_back(source.current())
    xr.testing.assert_identical(found, expected)
    for name, variable in expected.variables.items():
        assert found[name].dtype == variable.dtype
    source.close()


@pytest.mark.parametrize("rows", [100, 1000, N])
def test_a_parquet_file_arrives_as_pandas_makes_a_data_set_of_it(tmp_path, rows):
    stations().to_parquet(tmp_path / "t.parquet", row_group_size=rows)
    assert_served(tmp_path / "t.parquet", as_pandas_makes_it(pd.read_parquet(tmp_path / "t.parquet")))


def test_without_statistics_missing_values_are_counted_by_reading(tmp_path):
    stations().to_parquet(tmp_path / "t.parquet", row_group_size=1000, write_statistics=False)
    assert_served(tmp_path / "t.parquet", as_pandas_makes_it(pd.read_parquet(tmp_path / "t.parquet")))


def test_a_parquet_file_that_pandas_did_not_write_is_served(tmp_path):
    table = pyarrow.table({"a": pyarrow.array([1, None, 3], pyarrow.int32()), "b": ["x", None, "z"]})
    pyarrow.parquet.write_table(table, tmp_path / "t.pq")
    assert_served(tmp_path / "t.pq", as_pandas_makes_it(pd.read_parquet(tmp_path / "t.pq")))


def test_a_named_index_is_the_dimension(tmp_path):
    frame = stations()[["depth", "name"]]
    frame.index = pd.date_range("2000-01-01", periods=N, name="time")
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=700)
    assert_served(tmp_path / "t.parquet", as_pandas_makes_it(pd.read_parquet(tmp_path / "t.parquet")))


def test_a_large_index_is_a_coordinate_that_is_read_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_INDEX_BYTES", 1000)
    frame = stations()[["depth"]].set_index(pd.Index(np.arange(N) ** 2, name="place"))
    frame = pd.concat([frame] * 20)
    frame.to_parquet(tmp_path / "t.parquet")
    view = file_source(TARGET, tmp_path / "t.parquet").current()
    opened = view.open()
    assert opened["coords"] == ["place"]
    assert "place" in [entry[0] for entry in opened["lazy"]]
    np.testing.assert_array_equal(view.read("place", ["outer", [slice(0, 5)]]), [0, 1, 4, 9, 16])


def test_times_with_a_zone_are_given_in_utc_and_say_in_which_they_were(tmp_path):
    frame = stations()[["depth"]].assign(seen=pd.date_range("2020-03-01", periods=N, freq="D", tz="Europe/Berlin"))
    frame.to_parquet(tmp_path / "t.parquet")
    for view in (
        file_source(TARGET, tmp_path / "t.parquet").current(),
        function_source(TARGET, lambda: frame).current(),
    ):
        found = read_back(view).seen
        assert found.attrs == {"time_zone": "Europe/Berlin"}
        assert found.values[0] == np.datetime64("2020-02-29T23:00")


def test_any_rows_of_any_column_are_those_of_pandas(tmp_path):
    stations().to_parquet(tmp_path / "t.parquet", row_group_size=700)
    view, frame = file_source(TARGET, tmp_path / "t.parquet").current(), as_pandas_makes_it(stations())
    rng = np.random.default_rng(0)
    for entry in (slice(5, 6), slice(690, 710), slice(None, None, -7), rng.integers(0, N, 50), slice(0, 0)):
        for name in ("depth", "maybe", "count"):
            expected = frame[name].values[entry]
            found = view.read(name, ["outer", [entry]])
            np.testing.assert_array_equal(pd.isna(found), pd.isna(expected))
            np.testing.assert_array_equal(found[~pd.isna(found)], expected[~pd.isna(expected)])


def test_a_large_parquet_file_is_never_whole_in_memory(tmp_path):
    rows, columns = 2_000_000, 8
    schema = pyarrow.schema([(f"c{i}", pyarrow.float64()) for i in range(columns)])
    with pyarrow.parquet.ParquetWriter(tmp_path / "t.parquet", schema) as writer:
        for group in range(4):
            values = np.arange(rows // 4, dtype="f8") + group
            writer.write_table(pyarrow.Table.from_arrays([pyarrow.array(values)] * columns, schema=schema))
    before = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    try:
        view, read, most = file_source(TARGET, tmp_path / "t.parquet").current(), 0, 0
        for _, _, values in view.select([[f"c{i}", ["outer", [WHOLE]]] for i in range(columns)]):
            read += values.nbytes
            most = max(most, pyarrow.total_allocated_bytes() - before)
            del values
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == rows * columns * 8
    assert peak + most < 4 * BLOCK_BYTES < read / 3


def test_a_csv_file_arrives_as_pandas_reads_it(tmp_path):
    stations().to_csv(tmp_path / "t.csv", index=False)
    assert_served(tmp_path / "t.csv", as_pandas_makes_it(pd.read_csv(tmp_path / "t.csv")))


def test_a_tsv_file_is_parted_by_tabs(tmp_path):
    stations()[["depth", "name"]].to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    assert_served(tmp_path / "t.tsv", as_pandas_makes_it(pd.read_csv(tmp_path / "t.tsv", sep="\t")))


def test_a_csv_file_that_is_too_large_is_refused_with_what_to_do(tmp_path):
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(tables.CSV_BYTES + 1)
    with pytest.raises(TooLarge, match="Write it as Parquet"):
        file_source(TARGET, tmp_path / "t.csv").current()


def test_a_frame_of_extension_dtypes_travels():
    frame = stations().assign(na=pd.array([True, None, False] * (N // 3), dtype="boolean"))
    found = there_and_back(function_source(TARGET, lambda: frame.head(9)).current().open())["dataset"]
    assert found.na.values.tolist() == [True, None, False] * 3
    assert found["count"].dtype == "f8"
    assert found.kind.values[0] == "buoy"


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)])), "several levels"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are named 'a'"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([1], name="a")), "both named 'a'"),
    ],
)
def test_tables_that_would_be_no_data_set_are_refused(frame, said):
    with pytest.raises(NothingToServe, match=said):
        function_source(TARGET, lambda: frame).current()


def test_several_tables_by_a_pattern_are_refused(tmp_path):
    with pytest.raises(NothingToServe, match="names several tables"):
        file_source(TARGET, tmp_path / "*.parquet")


def test_an_empty_table_is_served(tmp_path):
    stations().head(0).to_parquet(tmp_path / "t.parquet")
    view = file_source(TARGET, tmp_path / "t.parquet").current()
    assert read_back(view).sizes == {"row": 0}
