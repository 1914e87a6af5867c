"""What owners are shown: bounded and harmless, whatever callers and methods have made."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from landbridge.backend.preview import arguments_shown, value_shown
from landbridge.errors import printable
from landbridge.wire import ReferenceData

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202egnp\u2066"
texts = st.one_of(st.text(max_size=30), st.just(HOSTILE), st.just(HOSTILE * 10_000))
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(max_size=300),
        st.just(10**4000), st.just(np.arange(10_000.0)), st.just(np.float64("nan")),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=30), st.dictionaries(texts, inner, max_size=30)),
    max_leaves=60,
)  # fmt: skip


@given(values)
def test_of_whatever_value_something_bounded_and_harmless_is_shown(value):
    said = value_shown(value, 5)
    text = json.dumps(said)
    assert len(text) < 30_000
    assert said["preview"] == printable(said["preview"])
    assert json.loads(text) == said


@given(st.dictionaries(texts, values, max_size=40))
def test_of_whatever_arguments_no_more_than_two_kibibytes_are_shown(arguments):
    shown = arguments_shown(arguments)
    text = json.dumps(shown, allow_nan=False)
    assert len(text) <= 2048 + 100
    assert printable(json.dumps(shown, ensure_ascii=False)) is not None
    for key, value in shown.items():
        assert key == printable(key)
        if isinstance(value, str):
            assert value == printable(value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2006, 2006),
        (math.inf, "inf"),
        (10**4000, "an integer of 13,288 bits"),
        ("nino34", "nino34"),
        ("x" * 300, "x" * 199 + "…"),
        (np.zeros((2, 3), "f4"), "numpy.ndarray of 2 x 3 float32"),
        (np.float32(1.5), "1.5"),
        ([1, [2.5, "a"]], "[1, [2.5, 'a']]"),
        (b"ab", "b'ab'"),
        (b"a" * 300, f"b'{'a' * 40}'… (300 bytes)"),
        ({"a": {1}}, "{'a': {1}}"),
        (frozenset(), "frozenset({})"),
        (pd.DataFrame({"a": [1, 2]}), "pandas.DataFrame of [2, 1]"),
        (xr.DataArray(np.zeros(3), dims="x"), "xarray.DataArray of {'x': 3}"),
        (print, "a function of the caller"),
        (ReferenceData("awi/m", "f", "0" * 32, "1" * 32, {}, None), "a reference to a value of awi/m.f"),
    ],
)  # fmt: skip
def test_arguments_in_short(value, shown):
    assert arguments_shown({"first": value}) == {"first": shown}


def test_little_of_an_argument_becomes_text():
    looked_at = []

    class Note:
        def __repr__(self):
            looked_at.append(self)
            return "a note"

    assert value_shown([[Note()] * 20] * 20, 5)
    assert len(looked_at) == 400
    looked_at.clear()
    assert arguments_shown({"first": [[Note()] * 20] * 20})["first"].startswith("[[a note, a note,")
    assert len(looked_at) <= 36
    assert arguments_shown({"first": [[[1]]], "second": {n: n for n in range(9)}}) == {
        "first": "[[[...]]]",
        "second": "{0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, … 3 more}",
    }


def test_more_arguments_than_are_shown_are_counted():
    shown = arguments_shown({f"a{number}": "x" * 150 for number in range(100)})
    assert shown["…"] == f"{100 - (len(shown) - 1)} more"


def test_what_is_in_a_value_is_seen():
    said = value_shown(np.arange(12.0).reshape(3, 4), 200)
    assert (said["shape"], said["dtype"], said["bytes"]) == ([3, 4], "float64", 200)
    assert said["preview"] == "array of 3 x 4 float64: 0.0, 1.0, 2.0, 3.0, 4.0, …; from 0.0 to 11.0"
    times = np.array(["2006-04-01", "2010-01-01"], "M8[D]")
    assert value_shown(times, 1)["preview"].endswith("2006-04-01, 2010-01-01")
    assert "2  2" in value_shown(pd.DataFrame({"a": [1, 2], "b": [1, 2]}), 1)["preview"]
    assert "float64 16B 0.0 1.0" in value_shown(xr.Dataset({"t": ("x", [0.0, 1.0])}), 1)["preview"]
    assert value_shown("line\nline", 1)["preview"] == "line\nline"


class Odd:
    def __repr__(self):
        raise RuntimeError("no")


def test_what_cannot_be_shown_is_named():
    assert "Odd" in value_shown([Odd()], 1)["preview"]
    assert "Odd" in value_shown(Odd(), 1)["preview"]
