"""Arrays and NumPy scalars arrive exactly: dtype, shape, order, values, masks; writable and aligned."""

from __future__ import annotations

import numpy as np
import pytest

from landbridge.errors import CannotTravel
from landbridge.wire import decode, encode, size_bytes


def there_and_back(value):
    return decode(b"".join(encode(value)))


def assert_same_array(back, array):
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.flags.writeable
    assert back.flags.aligned
    if array.dtype == object or array.dtype.kind == "T":
        assert back.tolist() == array.tolist()
        assert list(map(type, back.ravel().tolist())) == list(map(type, array.ravel().tolist()))
    elif array.dtype.names is not None:
        assert repr(back) == repr(array)  # bytes between fields are no part of the value
    else:
        assert np.ascontiguousarray(back).tobytes() == np.ascontiguousarray(array).tobytes()


NUMBERS = [*"?bBhHiIlLqQefdFD"]
STRUCT = np.dtype([("time", "<M8[s]"), ("pos", "<f4", (2, 3)), ("in", [("a", "i1"), ("b", ">u2")]), ("name", "U3")])
ARRAYS = {
    **{f"dtype {char}": np.arange(200).astype(char) for char in NUMBERS},
    **{f"big-endian {char}": np.arange(5).astype(np.dtype(char).newbyteorder(">")) for char in "hIqefdFD"},
    **{
        f"datetime {unit}": np.array(["2001-02-03", "NaT"], f"M8[{unit}]") for unit in ("Y", "D", "s", "ms", "us", "ns")
    },
    "datetime multiple": np.array([1, 2], "M8[25s]"),
    "datetime generic": np.array(["NaT"], "M8"),
    "timedelta": np.array([1, -5, "NaT"], "m8[h]"),
    "bytes": np.array([b"a", b"", b"abc"]),
    "text": np.array([["Kiel", "Potsdam"], ["", "ü\U0001f30a"]]),
    "text big-endian": np.array(["ab"], ">U2"),
    "empty text dtype": np.zeros(3, "U0"),
    "void": np.array([b"ab", b"cd"], "V2"),
    "struct": np.zeros(4, STRUCT),
    "aligned struct": np.ones(3, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "struct with overlap": np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["u4", "u2"], "offsets": [0, 1]})),
    "struct without fields": np.zeros(2, np.dtype([])),
    "0-d": np.array(3.5),
    "0-d object": np.array(None, dtype=object),
    "empty": np.zeros((3, 0, 2), "f4"),
    "order F": np.asfortranarray(np.arange(600.0).reshape(20, 30)),
    "strided": np.arange(1000)[::3],
    "reversed": np.arange(1000)[::-1],
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "broadcast": np.broadcast_to(np.float32(1), (3, 4)),
    "unaligned": np.frombuffer(bytes(81), "u1")[1:].view("f8"),
    "read-only": np.frombuffer(bytes(800), "f8"),
    "nan": np.array([np.nan, np.inf, -0.0, 1e-45], "f4"),
    "strings": np.array(["a", "", "long " * 200, "Niño"], np.dtypes.StringDType()),
    "strings none": np.array(["a", None], np.dtypes.StringDType(na_object=None)),
    "strings strict": np.array([["a"], ["b"]], np.dtypes.StringDType(coerce=False)),
    "objects of text": np.array([["a", None], ["b", "c"]], dtype=object),
    "objects": np.array([1, "a", (2, 3), None, 2**80, b"x" * 600, {"k": [1]}], dtype=object),
    "objects order F": np.asfortranarray(np.array([[1, "a"], [None, 2.5]], dtype=object)),
    "no objects": np.empty((0, 2), dtype=object),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("container", [bytes, bytearray])
def test_array_arrives_exactly(name, container):
    array = ARRAYS[name]
    back = decode(container(b"".join(encode(array))))
    assert_same_array(back, array)


def test_order_of_memory_is_kept():
    back = there_and_back(ARRAYS["order F"])
    assert back.flags.f_contiguous
    assert there_and_back(ARRAYS["objects order F"]).flags.f_contiguous


def test_big_array_is_not_copied_on_either_side():
    array = np.arange(10_000.0)
    parts = encode({"data": array})
    assert np.shares_memory(np.frombuffer(parts[-1], "f8"), array)
    frame = bytearray(b"".join(parts))
    back = decode(frame)["data"]
    assert np.shares_memory(back, np.frombuffer(frame, "u1"))
    assert size_bytes(parts) == len(frame)


def test_buffers_begin_at_multiples_of_64():
    parts = encode([np.arange(200.0), np.arange(601, dtype="i1"), np.arange(100.0)])
    at = 0
    for part in parts:
        if isinstance(part, memoryview):
            assert at % 64 == 0
        at += len(part)


def test_array_in_unaligned_memory_is_copied():
    frame = b"".join(encode(np.arange(100.0)))
    shifted = bytearray(b"x" + frame)
    back = decode(memoryview(shifted)[1:])
    assert back.flags.aligned
    assert back.sum() == 4950


def test_small_arrays_stand_in_the_header():
    assert len(encode(np.arange(10))) == 1


def test_arrays_nested_in_objects_stay_arrays():
    array = np.empty(2, dtype=object)
    array[0], array[1] = np.array(5), np.arange(3)
    back = there_and_back(array)
    assert type(back[0]) is np.ndarray
    assert back[0].shape == ()
    assert back[1].tolist() == [0, 1, 2]


def test_missing_text_by_nan_stays_nan():
    array = np.array(["a", np.nan], np.dtypes.StringDType(na_object=np.nan))
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert np.isnan(back).tolist() == [False, True]


def test_bytes_between_fields_do_not_leak():
    dtype = np.dtype({"names": ["a"], "formats": ["u1"], "offsets": [0], "itemsize": 8})
    array = np.frombuffer(b"\x01SECRET!" * 100, dtype)
    assert b"SECRET" not in b"".join(encode(array))
    assert there_and_back(array)["a"].tolist() == [1] * 100


def test_memory_map_arrives_as_array(tmp_path):
    mapped = np.memmap(tmp_path / "a.bin", "f4", "w+", shape=(300,))
    mapped[:] = 2
    back = there_and_back(mapped)
    assert type(back) is np.ndarray
    assert back.sum() == 600


SCALARS = [
    np.bool_(True), np.int8(-1), np.uint16(9), np.int32(5), np.int64(-(2**63)), np.uint64(2**64 - 1), np.float16(0.5),
    np.float32(0.1), np.float64(0.1), np.complex64(1 + 2j), np.complex128(3j), np.datetime64("2001-02-03T04:05", "m"),
    np.timedelta64(5, "D"), np.str_("Niño\0"), np.str_(""), np.bytes_(b"a\0"), np.void(b"abc"),
]  # fmt: skip


@pytest.mark.parametrize("value", SCALARS, ids=[f"{type(value).__name__}-{at}" for at, value in enumerate(SCALARS)])
def test_scalar_keeps_its_type(value):
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back == value
    assert getattr(back, "dtype", None) == value.dtype


def test_not_a_time_arrives():
    back = there_and_back(np.datetime64("NaT", "ns"))
    assert np.isnat(back)
    assert back.dtype == "M8[ns]"


def test_item_of_a_struct_arrives():
    value = np.ones(1, STRUCT)[0]
    back = there_and_back(value)
    assert type(back) is np.void
    assert back.dtype == STRUCT
    assert back.tobytes() == value.tobytes()


@pytest.mark.parametrize("value", [np.dtype("f8"), np.dtype(">i2"), STRUCT, np.dtype("M8[ns]"), np.dtype(object)])
def test_dtype_travels(value):
    assert there_and_back(value) == value


MASKED = {
    "some": np.ma.masked_array([1.0, 2.0, 3.0], mask=[True, False, True]),
    "no mask": np.ma.masked_array([1, 2]),
    "fill value": np.ma.masked_array([1, 2], mask=[0, 1], fill_value=-99),
    "hard": np.ma.masked_array([1, 2], mask=[0, 1], hard_mask=True),
    "struct": np.ma.masked_array([(1, 2.0)], mask=[(1, 0)], dtype=[("a", "i4"), ("b", "f8")]),
    "order F": np.ma.masked_array(np.asfortranarray(np.arange(6.0).reshape(2, 3)), mask=True),
    "text": np.ma.masked_array(["a", "b"], mask=[0, 1]),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_array_keeps_mask_and_fill_value(name):
    value = MASKED[name]
    back = there_and_back(value)
    assert type(back) is np.ma.MaskedArray
    assert_same_array(np.asarray(back.data), np.asarray(value.data))
    assert (back.mask is np.ma.nomask) == (value.mask is np.ma.nomask)
    assert np.array_equal(np.ma.getmaskarray(back), np.ma.getmaskarray(value))
    assert back.hardmask == value.hardmask
    assert np.array_equal(back.fill_value, value.fill_value)
    assert (back._fill_value is None) == (value._fill_value is None)


def test_masked_constant_is_the_constant():
    assert there_and_back([np.ma.masked])[0] is np.ma.masked


def test_dtype_of_another_package_is_refused():
    class Foreign(np.ndarray):
        pass

    with pytest.raises(CannotTravel, match="Foreign"):
        encode(np.zeros(2).view(Foreign))
