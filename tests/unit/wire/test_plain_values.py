"""Values of the standard library arrive as what they were."""

from __future__ import annotations

import datetime as dt
import math
import struct
from decimal import Decimal
from pathlib import Path, PurePosixPath
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from landbridge.wire import decode, encode


def there_and_back(value):
    return decode(b"".join(encode(value)))


EXACT = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    2**64,
    -(2**63) - 1,
    7**5000,
    -(7**5000),
    1.5,
    -math.inf,
    5e-324,
    "",
    "Niño 3.4 \U0001f30a \0",
    "long " * 20_000,
    b"",
    b"x" * 511,
    b"x" * 512,
    b"x" * 100_000,
    bytearray(b"abc"),
    bytearray(600),
    1 + 2j,
    complex(math.inf, -0.0),
    [],
    [1, [2, [3, []]]],
    (),
    (1, ("a", (None,))),
    set(),
    {1, 2, 3},
    {"a", (1, 2), None},
    frozenset({frozenset({1}), frozenset()}),
    {},
    {"b": 1, "a": 2},
    {(1, 2): "tuple", None: "none", 3: "int", True: "bool", frozenset({1}): "frozenset", 2.5: "float", b"k": "bytes"},
    {"deep": [{"b": bytearray(b"x")}, (bytearray(2), b"y" * 600)]},
    range(3),
    range(10, 0, -2),
    range(2**70, 2**71),
    slice(None),
    slice(1, "b", (2,)),
    ...,
    dt.date(1, 1, 1),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, microseconds=5), "odd")),
    dt.time(12, 30, 1, 5),
    dt.time(1, tzinfo=dt.UTC, fold=1),
    dt.timedelta(-1, 1, 1),
    dt.timedelta.max,
    dt.timedelta.min,
    dt.UTC,
    dt.timezone(dt.timedelta(hours=2)),
    ZoneInfo("America/Argentina/Buenos_Aires"),
    ZoneInfo("Etc/GMT+3"),
    Decimal("1.10"),
    Decimal("-0"),
    Decimal("1E+999999"),
    Decimal("1E-1000"),
    Decimal("Infinity"),
    UUID(int=2**127 + 1),
    PurePosixPath("/data/sst.nc"),
]


@pytest.mark.parametrize("value", EXACT, ids=[f"{type(value).__name__}-{at}" for at, value in enumerate(EXACT)])
def test_value_arrives_with_its_type(value):
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value) or type(value) in (set, frozenset)


def test_order_of_keys_is_kept():
    value = dict.fromkeys("zebra")
    assert list(there_and_back(value)) == list("zebra")


def test_booleans_and_integers_inside_stay_apart():
    assert list(map(type, there_and_back([True, 1, 1.0, 0, False]))) == [bool, int, float, int, bool]


def test_negative_zero_keeps_its_sign():
    assert math.copysign(1, there_and_back(-0.0)) == -1


def test_nan_stays_nan():
    assert math.isnan(there_and_back(math.nan))
    assert math.isnan(there_and_back(struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_1234))[0]))
    assert there_and_back(Decimal("sNaN123")).is_snan()


def test_fold_and_time_zone_are_kept():
    value = dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    back = there_and_back(value)
    assert (back.fold, back.tzinfo, back.utcoffset()) == (1, value.tzinfo, value.utcoffset())


def test_name_of_a_fixed_offset_is_kept():
    assert there_and_back(dt.timezone(dt.timedelta(0), "WET")).tzname(None) == "WET"


def test_path_arrives_as_pure_path():
    back = there_and_back(Path("/data/sst.nc"))
    assert type(back) is PurePosixPath
    assert back == PurePosixPath("/data/sst.nc")


def test_equal_sets_give_equal_frames():
    # 0 and 8 collide in a small set, so that the order of insertion is the order of iteration.
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert encode(one) == encode(other)


def test_bytearray_arrives_writable():
    back = there_and_back(bytearray(2000))
    back[0] = 1
    assert back[0] == 1


def test_what_is_encoded_inside_an_encoder_does_not_mix():
    value = [1, (2, (3, {(4, (5,)): {6}}), [7]), 8]
    assert there_and_back(value) == value
    assert there_and_back(value) == value


def test_encoder_works_after_a_refusal():
    with pytest.raises(TypeError):
        encode([1, (2, object())])
    assert there_and_back([1, (2, 3)]) == [1, (2, 3)]
