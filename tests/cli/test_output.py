"""A method's value → text, JSON or a file."""

from __future__ import annotations

import ast
import datetime
import enum
import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.cli.ending import UsageError
from landbridge.cli.output import Jsonable, check_output, show_value, write_value

Basin = enum.Enum("Basin", {"NORTH": "n"})


@dataclass
class Box:
    west: float


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.float32(1.5), 1.5),
        (np.array(["2006-04-01", "NaT"], "M8[D]"), ["2006-04-01", None]),
        (np.ma.masked_array([1, 2], [False, True]), [1, None]),
        (np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), [[1, 2.0]]),
        (1 + 2j, [1.0, 2.0]),
        (b"\x00\xff", "AP8="),
        ({1: Basin.NORTH}, {"1": "NORTH"}),
        (Box(1.0), {"west": 1.0}),
        ((datetime.date(2006, 4, 1), {3}, range(2)), ["2006-04-01", [3], [0, 1]]),
        (datetime.timedelta(days=1), "1 day, 0:00:00"),
    ],
)
def test_values_become_json(value, plain):
    assert Jsonable().of(value) == plain


@pytest.mark.parametrize("value", [float("inf"), np.array([np.nan]), np.datetime64("NaT"), {1: 2}])
def test_what_json_cannot_say_is_noted(value):
    plain = Jsonable()
    plain.of(value)
    assert plain.notes


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(), st.binary(),
              st.dates(), st.timedeltas(), st.decimals()),
    lambda inner: st.one_of(st.lists(inner), st.tuples(inner), st.dictionaries(st.text() | st.integers(), inner)),
    max_leaves=10,
)  # fmt: skip


@given(_VALUES)
def test_every_value_becomes_json_that_can_be_read(value):
    json.loads(json.dumps(Jsonable().of(value), allow_nan=False))


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a\nb", "a\nb\n"), (1.5, "1.5\n"), (True, "True\n"), (None, ""), ([1, "a"], '[1, "a"]\n'),
     (Basin.NORTH, "NORTH\n"), (np.arange(2000), None)],
)  # fmt: skip
def test_plain_text_leaves_nothing_out(capsys, value, shown):
    show_value(value, as_json=False)
    out = capsys.readouterr().out
    assert out == shown if shown is not None else json.loads(out) == list(range(2000))


@pytest.mark.parametrize(
    ("shape", "as_json", "shown"),
    [("{}", False, "{}"), ("{}", True, '"{}"'), ('{{"n": [{}]}}', True, '{{"n": ["{}"]}}'), ("[{}]", False, '["{}"]')],
)
def test_integers_too_long_for_decimals_are_shown_as_hexadecimal_text(capsys, shape, as_json, shown):
    number = -(10**5000) - 1
    show_value(ast.literal_eval(shape.format(hex(number))), as_json=as_json)
    out, said = capsys.readouterr()
    assert out == shown.format(hex(number)) + "\n"
    assert "hexadecimal" in said


@pytest.mark.parametrize("as_json", [True, False])
def test_integers_that_decimals_can_say_stay_decimal(capsys, as_json):
    show_value(10**4000, as_json=as_json)
    assert capsys.readouterr() == (f"{10**4000}\n", "")


def test_keys_too_long_for_decimals_become_hexadecimal_text():
    assert Jsonable().of({10**5000: 1}) == {hex(10**5000): 1}


@pytest.mark.parametrize(("ending", "text"), [(".json", '["{}"]'), (".txt", '["{}"]'), (".csv", "{}")])
def test_integers_too_long_for_decimals_can_be_written(tmp_path, capsys, ending, text):
    write_value([10**5000], tmp_path / f"a{ending}")
    assert (tmp_path / f"a{ending}").read_text() == text.format(hex(10**5000)) + "\n"
    assert "hexadecimal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"), [("a.npy", {"a": 1}), ("a.nc", [1]), ("a.csv", [[[1]]]), ("a.csv", {"a": [1], "b": []})]
)
def test_a_value_that_does_not_suit_leaves_the_old_file_as_it_was(tmp_path, name, value):
    (tmp_path / name).write_text("old")
    with pytest.raises(UsageError, match="not suited"):
        write_value(value, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 2], "1\n2\n"),
        (np.eye(2, dtype=int), "1,0\n0,1\n"),
        ({"a": [1, 2], "b": ["x", None]}, "a,b\n1,x\n2,\n"),
        ([{"a": 1, "b": 2}, {"a": 3, "b": 4}], "a,b\n1,2\n3,4\n"),
    ],
)
def test_tables_are_written_as_csv(tmp_path, value, text):
    write_value(value, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == text


def test_a_file_keeps_the_usual_rights(tmp_path):
    write_value(1, tmp_path / "a.json")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("name", ["a", "a.xyz", "no/a.json", ""])
def test_a_file_that_cannot_be_written_is_refused(tmp_path, name):
    with pytest.raises(UsageError):
        check_output(tmp_path / name)
