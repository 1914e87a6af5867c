"""A shell's words → a method's arguments."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.cli.ending import UsageError
from landbridge.cli.input import read_arguments
from landbridge.contract import MethodSpec, ParameterSpec
from landbridge.errors import InvalidArguments

INT, TEXT, FLAG = {"type": "integer"}, {"type": "string"}, {"type": "boolean"}
BOX = {"type": "object", "properties": {"west": {"type": "number"}, "wrap": FLAG}, "x-landbridge": "dataclass"}
SPEC = MethodSpec(
    "mean",
    parameters=(
        ParameterSpec("first_year", schema=INT),
        ParameterSpec("name", schema=TEXT, required=False),
        ParameterSpec("region", schema={"$ref": "#/$defs/Box"}, required=False),
        ParameterSpec("fill", schema=FLAG, required=False),
        ParameterSpec("levels", schema={"type": "array", "items": INT}, required=False),
        ParameterSpec("data", required=False),
    ),
)
TYPES = {"Box": BOX}


def read(*words):
    return read_arguments(SPEC, TYPES, words, "geomar/ocean.mean")


def problems(*words):
    with pytest.raises(InvalidArguments) as caught:
        read(*words)
    return {problem.where: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["2006"], {"first_year": 2006}),
        (["-5"], {"first_year": -5}),
        (["--first-year", "2006"], {"first_year": 2006}),
        (["--first_year=2006", "--name=a=b"], {"first_year": 2006, "name": "a=b"}),
        (["1", "--name", "-x"], {"first_year": 1, "name": "-x"}),
        (["1", "--name=--x"], {"first_year": 1, "name": "--x"}),
        (["1", "--name=-"], {"first_year": 1, "name": "-"}),
        (["1", "--name", ""], {"first_year": 1, "name": ""}),
        (["--fill", "1"], {"first_year": 1, "fill": True}),
        (["1", "--no-fill"], {"first_year": 1, "fill": False}),
        (["1", "--fill=no"], {"first_year": 1, "fill": False}),
        (["1", "--region.west", "-20", "--region.wrap"], {"first_year": 1, "region": {"west": -20.0, "wrap": True}}),
        (["1", "--levels", "1", "--levels", "2"], {"first_year": 1, "levels": [1, 2]}),
        (["1", "--levels", "[1, 2]"], {"first_year": 1, "levels": [1, 2]}),
        (["1", "--data", '{"a": [1]}'], {"first_year": 1, "data": {"a": [1]}}),
    ],
)
def test_words_are_read_by_the_schema(words, values):
    assert read(*words) == values


def test_values_by_place_beyond_the_signature_go_to_the_variadic_parameter():
    spec = MethodSpec("log", parameters=(ParameterSpec("base", schema=INT), ParameterSpec("x", "var_positional", INT)))
    assert read_arguments(spec, {}, ["10", "1", "2"], "") == {"base": 10, "x": [1, 2]}


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["1", "--nmae", "x"], "nmae"),
        (["1", "--name"], "name"),
        (["1", "--name", "--fill"], "name"),
        (["1", "--first-year", "2"], "first_year"),
        (["--first-year", "2", "1"], "first_year"),
        (["1", "-x"], "-x"),
        (["1", "--region.wets", "1"], "region.wets"),
        ([], "first_year"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(words, where):
    assert where in problems(*words)


def test_a_spelling_mistake_comes_with_what_was_meant():
    assert "--name" in problems("1", "--nmae", "x")["nmae"]


def test_files_are_read_by_their_ending(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    (tmp_path / "a.csv").write_text("year,name\n2006,a\n2007,b\n")
    (tmp_path / "a.json").write_text('{"west": 1}')
    (tmp_path / "a.txt").write_text("2006\n")
    assert read(f"@{tmp_path}/a.txt") == {"first_year": 2006}
    assert read("1", "--region", f"@{tmp_path}/a.json") == {"first_year": 1, "region": {"west": 1}}
    assert read("1", "--data", f"@{tmp_path}/a.npy")["data"].tolist() == [0, 1, 2]
    table = read("1", f"--data=@{tmp_path}/a.csv")["data"]
    assert table["year"].tolist() == [2006, 2007]
    assert table["name"] == ["a", "b"]


def test_a_pickle_in_an_array_file_is_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "can not be read" in problems("1", "--data", f"@{tmp_path}/a.npy")["data"]


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b'{"a": '])
def test_a_broken_file_is_a_problem_of_its_argument(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    assert "data" in problems("1", "--data", f"@{tmp_path}/a.json")


@pytest.mark.parametrize("ending", ["", ".txt", ".json", ".npy", ".csv", ".nc"])
def test_what_is_no_ordinary_file_is_not_read(tmp_path, ending):
    os.mkfifo(tmp_path / f"pipe{ending}")
    (tmp_path / f"zero{ending}").symlink_to("/dev/zero")
    (tmp_path / f"folder{ending}").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(UsageError, match=f"{name}.*ordinary file"):
            read("1", "--data", f"@{tmp_path}/{name}{ending}")


@pytest.mark.parametrize("ending", ["", ".txt", ".json", ".npy", ".csv", ".nc"])
def test_a_file_too_long_to_be_read_into_memory_is_refused(tmp_path, ending, monkeypatch):
    monkeypatch.setattr("landbridge.cli.input.memory_bytes", lambda: 8_000)
    with open(tmp_path / f"a{ending}", "wb") as file:
        file.truncate(1_001)
    with pytest.raises(UsageError, match="longer than"):
        read("1", "--data", f"@{tmp_path}/a{ending}")


def test_an_array_file_that_promises_more_than_there_is_memory_is_a_problem_of_its_argument(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(1))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(1,), }" + b" " * 15, b"(1000000000000000,), }")
    (tmp_path / "a.npy").write_bytes(content)
    assert "can not be read" in problems("1", "--data", f"@{tmp_path}/a.npy")["data"]


def test_a_parameter_that_came_from_a_file_is_not_missing(tmp_path):
    (tmp_path / "a.json").write_text("2006")
    assert read("--first-year", f"@{tmp_path}/a.json") == {"first_year": 2006}


def test_stdin_is_read_once(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("[1, 2]\n"))
    assert read("1", "--levels", "-") == {"first_year": 1, "levels": [1, 2]}
    assert "stdin" in problems("1", "--name", "-", "--levels", "-")["levels"]


_WORDS = st.lists(
    st.one_of(
        st.sampled_from(["--name", "--fill", "--no-fill", "--region.west", "--levels", "--data", "1", "--", "@", "@@"]),
        st.text(max_size=8).filter(lambda word: word != "-"),
        st.from_regex(r"--[a-z_.]{1,8}(=.{0,4})?", fullmatch=True),
    ),
    max_size=8,
)


@given(_WORDS)
def test_any_words_give_arguments_or_a_list_of_problems(words):
    try:
        values = read(*words)
    except InvalidArguments as error:
        told = error.problems
    else:
        told = values
    assert told
