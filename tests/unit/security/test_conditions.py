"""What arguments must fulfil: what cannot be compared is never allowed."""

from __future__ import annotations

import datetime
import enum
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import InvalidName
from landbridge.security import Condition


class Region(enum.Enum):
    NORTH = "n"
    SOUTH = 2


DAY = datetime.date(2007, 5, 1)
NOON = datetime.datetime(2007, 5, 1, 12)
YEARS = {"min": 1980, "max": 2010}
DAYS = {"min": datetime.date(2007, 1, 1), "max": datetime.date(2007, 12, 31)}
TIMES = {"min": datetime.datetime(2007, 1, 1), "max": datetime.datetime(2007, 12, 31)}


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (YEARS, 1980),
        (YEARS, 2010.0),
        (YEARS, np.int16(1999)),
        (YEARS, np.array([[1980, 1999], [2010, 1990]])),
        (YEARS, [1980, 2010]),
        (YEARS, range(1990, 1990)[:]),
        (YEARS, []),
        ({"min": 0}, math.inf),
        ({"max": 0.5}, -1),
        (DAYS, DAY),
        (DAYS, NOON),
        (DAYS, "2007-05-01"),
        (DAYS, np.datetime64("2007-05-01T06:00:00.000000000")),
        (DAYS, np.array(["2007-05-01", "2007-12-31"], "M8[D]")),
        (TIMES, NOON),
        (TIMES, NOON.replace(tzinfo=datetime.UTC)),
        ({"one_of": ["NORTH"]}, Region.NORTH),
        ({"one_of": ["n", 2]}, Region.SOUTH),
        ({"one_of": ["a", "b"]}, ["a", "a"]),
        ({"one_of": [1, 2]}, 2.0),
        ({"one_of": [True]}, True),
    ],
)
def test_what_is_within_is_allowed(said, value):
    if isinstance(value, range):
        value = list(value)
    assert Condition.parse("x", said).why_not({"x": value}) == ""


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (YEARS, 1979),
        (YEARS, 2010.5),
        (YEARS, math.nan),
        (YEARS, np.nan),
        (YEARS, np.array([1980, 2011])),
        (YEARS, [1980, [1990]]),
        (YEARS, "1990"),
        (YEARS, None),
        (YEARS, True),
        (YEARS, {"a": 1990}),
        (YEARS, 1990 + 0j),
        (YEARS, object()),
        (YEARS, np.zeros(200_000)),
        ({"min": 0}, -math.inf),
        (DAYS, "2008-05-01"),
        (DAYS, "soon"),
        (DAYS, 2007),
        (DAYS, np.datetime64("NaT")),
        (TIMES, DAY),
        ({"one_of": ["a"]}, "A"),
        ({"one_of": ["a"]}, "a\u200b"),
        ({"one_of": [1]}, True),
        ({"one_of": [True]}, 1),
        ({"one_of": ["1"]}, 1),
        ({"one_of": ["SOUTH"]}, Region.NORTH),
        ({"one_of": []}, 1),
    ],
)
def test_what_is_not_within_or_cannot_be_compared_is_refused_with_the_value(said, value):
    why = Condition.parse("x", said).why_not({"x": value})
    assert why.startswith("x is ")
    assert len(why) < 500


def test_an_argument_that_is_not_given_is_refused():
    assert Condition.parse("x", YEARS).why_not({"y": 1990}) == "x is not given"


@pytest.mark.parametrize(
    "said",
    [None, 3, [], {}, {"mini": 3}, {"min": "1980"}, {"min": True}, {"min": 1, "max": DAY}, {"min": DAY, "max": NOON},
     {"one_of": "abc"}, {"one_of": [[1]]}, {"one_of": [DAY]}, {"one_of": ["x"] * 1001}],
)  # fmt: skip
def test_what_is_no_condition_is_refused(said):
    with pytest.raises(InvalidName, match="may not name a condition"):
        Condition.parse("x", said)


@given(st.floats(), st.floats(), st.one_of(st.floats(), st.integers(), st.lists(st.floats(), max_size=3)))
def test_a_range_allows_what_lies_in_it(low, high, value):
    elements = value if isinstance(value, list) else [value]
    expected = all(low <= each <= high for each in elements)
    assert (Condition.parse("x", {"min": low, "max": high}).why_not({"x": value}) == "") == expected
