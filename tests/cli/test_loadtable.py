"""From what backends answered to a table: rates, order, and what is left out."""

from __future__ import annotations

import pytest

from landbridge.cli.loadtable import Sample, measure, table_json, table_lines
from landbridge.protocol import LATENCY_BOUNDS_S, Load


def load(ended=0, errors=0, running=0, waiting=0, bytes_in=0, bytes_out=0, bucket=1):
    latency = [0] * (len(LATENCY_BOUNDS_S) + 1)
    latency[bucket] = ended
    return Load(ended, errors, running, waiting, bytes_in, bytes_out, tuple(latency))


def table(before, after, seconds=2.0):
    return measure(Sample(10.0, before), Sample(10.0 + seconds, after))


def test_rates_are_what_was_done_meanwhile_by_all_backends_together():
    before = {"a/b": {"1": load(100, 10, bytes_in=1000), "2": load(50)}}
    after = {"a/b": {"1": load(110, 12, 1, 2, bytes_in=3000), "2": load(60, running=3, bytes_out=4000)}}
    (row,) = table(before, after).rows
    assert row[:5] == ("a/b", 2, 10.0, 4, 2)
    assert (row.errors, row.bytes_in, row.bytes_out) == (1.0, 1000.0, 2000.0)
    assert 0.001 < row.p50_s < row.p95_s < 0.0025


def test_a_backend_that_is_new_has_done_nothing_yet():
    (row,) = table({"a/b": {}}, {"a/b": {"1": load(1_000_000, running=1)}}).rows
    assert (row.backends, row.calls, row.running, row.p50_s) == (1, 0.0, 1, None)


@pytest.mark.parametrize("change", [{"ended": 3}, {"bytes_in": 1}, {"bytes_out": 1}])
def test_a_backend_that_counts_anew_has_no_negative_rates(change):
    full = load(10, bytes_in=100, bytes_out=100)
    anew = load(**{"ended": 20, "bytes_in": 200, "bytes_out": 200} | change)
    (row,) = table({"a/b": {"1": full}}, {"a/b": {"1": anew}}).rows
    assert (row.calls, row.bytes_in, row.bytes_out) == (0.0, 0.0, 0.0)


def test_the_busiest_come_first_and_equals_by_name():
    now = {
        "a/idle": {"1": load()},
        "a/also_idle": {"1": load()},
        "a/quick": {"1": load(100)},
        "a/full": {"1": load(running=1, waiting=5)},
        "a/some": {"1": load(running=2)},
    }
    before = {module: {"1": load()} for module in now}
    assert [row.module for row in table(before, now).rows] == ["a/full", "a/some", "a/quick", "a/also_idle", "a/idle"]


def test_what_is_not_shared_is_counted_and_what_is_silent_is_shown():
    found = table({}, {"a/ours": {"1": load()}, "b/theirs": {"1": None}, "c/frozen": {}})
    assert [(row.module, row.backends) for row in found.rows] == [("a/ours", 1), ("c/frozen", 0)]
    assert found.not_shared == 1
    text = "\n".join(table_lines(found))
    assert "no answer" in text
    assert "1 more share nothing with you." in text
    assert "theirs" not in text


def test_columns_stand_under_their_heads():
    before = {"a/b": {"1": load()}}
    head, line = table_lines(table(before, {"a/b": {"1": load(3, 1, 12, bytes_out=2_500_000, bucket=8)}}))
    assert line.split() == ["a/b", "1", "1.5", "12", "0", "375", "ms", "487", "ms", "0.5", "0.00", "1.25"]
    assert head.index("calls/s") + len("calls/s") == line.index("1.5") + 3


@pytest.mark.parametrize(
    ("bucket", "p50"), [(0, "< 1 ms"), (2, "4 ms"), (10, "1.8 s"), (15, "75.0 s"), (17, "6 min"), (20, "60 min")]
)
def test_times_are_told_in_units_that_suit_them(bucket, p50):
    found = table({"a/b": {"1": load()}}, {"a/b": {"1": load(10, bucket=bucket)}})
    assert f"  {p50}  " in table_lines(found)[1]


def test_nothing_at_all_is_told():
    assert table_lines(table({}, {}))[1] == "No module that is online shares anything with you."


def test_json_has_the_same_figures():
    found = table({"a/b": {"1": load()}}, {"a/b": {"1": load(3)}, "b/c": {"1": None}}, seconds=1.0)
    (module,) = table_json(found)["modules"]
    assert module["module"] == "a/b"
    assert module["calls_per_s"] == 3.0
    assert module["p95_s"] > module["p50_s"] > 0
    assert table_json(found)["not_shared"] == 1
