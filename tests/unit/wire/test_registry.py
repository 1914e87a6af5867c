"""Types of users travel under the names that both sides registered, and under no others."""

from __future__ import annotations

import dataclasses
import enum
import pickle
from typing import NamedTuple

import msgpack
import numpy as np
import pydantic
import pytest

import landbridge as lb
from landbridge.errors import CannotTravel, InvalidName, Malformed
from landbridge.wire import UnknownType, decode, encode
from landbridge.wire.registry import OWN


class Quake:
    def __init__(self, magnitude, trace=None, extra=None):
        self.magnitude, self.trace, self.extra = magnitude, trace, extra


class Aftershock(Quake):
    pass


class Broken:
    pass


def make_quake(parts):
    magnitude, trace, extra = parts
    if not isinstance(magnitude, float):
        raise ValueError("a magnitude is a number")
    return Quake(magnitude, trace, extra)


lb.register(Quake, "org.tests/quake", lambda quake: [quake.magnitude, quake.trace, quake.extra], make_quake)
lb.register(Broken, "org.tests/broken", lambda value: 1 / 0, lambda value: 5)


def there_and_back(value):
    return decode(b"".join(encode(value)))


def frame(tag, payload) -> bytes:
    header = msgpack.packb(msgpack.ExtType(1, msgpack.packb([tag, payload])))
    return b"LB\x01\x00" + len(header).to_bytes(4, "little") + bytes(4) + header


def test_object_arrives_wherever_it_stands():
    trace = np.arange(300.0)
    array = np.array([Quake(5.0), None], dtype=object)
    back = there_and_back({"a": [Quake(6.1, trace), (Quake(5.0, {"k": (1,)}),)], "b": array})
    assert type(back["a"][0]) is Quake
    assert np.array_equal(back["a"][0].trace, trace)
    assert back["a"][1][0].trace == {"k": (1,)}
    assert back["b"][0].magnitude == 5.0


def test_parts_that_need_more_than_msgpack_arrive():
    back = there_and_back(Quake(1.0, bytearray(b"abc"), [bytes(600), "x" * 70_000, Quake(2.0)]))
    assert type(back.trace) is bytearray
    assert back.extra[0] == bytes(600)
    assert back.extra[1] == "x" * 70_000
    assert back.extra[2].magnitude == 2.0


def test_subclass_does_not_travel_as_its_base():
    with pytest.raises(CannotTravel, match="Aftershock"):
        encode([Aftershock(1.0)])


def test_place_of_what_does_not_travel_inside_is_named():
    with pytest.raises(CannotTravel) as caught:
        encode({"q": [Quake(1.0, {"k": [len]})]})
    assert caught.value.where == 'value["q"][0] (encoded as org.tests/quake: value[1]["k"][0])'


def test_object_that_contains_itself_is_refused():
    quake = Quake(1.0)
    quake.extra = [quake]
    with pytest.raises(CannotTravel, match="nested deeper"):
        encode(quake)


def test_encode_that_raises_is_a_typed_error_with_its_place():
    with pytest.raises(CannotTravel, match=r"org.tests/broken.*ZeroDivisionError") as caught:
        encode([Broken()])
    assert caught.value.where == "value[0]"


def test_decode_that_raises_is_a_typed_error():
    with pytest.raises(Malformed, match=r"org.tests/quake.*a magnitude is a number"):
        decode(frame("org.tests/quake", ["huge", None, None]))


def test_decode_that_makes_something_else_is_a_typed_error():
    with pytest.raises(Malformed, match="made a int"):
        decode(frame("org.tests/broken", None))


def test_payload_is_checked_before_the_function_of_a_user_sees_it():
    with pytest.raises(Malformed, match="extension type -1"):
        decode(frame("org.tests/quake", [1.0, msgpack.Timestamp(1, 2), None]))


def test_name_that_nobody_registered_is_a_typed_error_with_what_to_do():
    with pytest.raises(UnknownType, match=r"landbridge\.register\(cls, 'org.tests/volcano'") as caught:
        decode(frame("org.tests/volcano", 1))
    assert caught.value.code == "malformed"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.name, str(again)) == (caught.value.name, str(caught.value))


def test_hostile_name_is_made_safe_to_show():
    with pytest.raises(UnknownType) as caught:
        decode(frame("evil/\x1b[31m" + "x" * 5000, 1))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "name",
    ["quake", "org/quake", "org.example", "org.tests/", "Org.example/quake", "org.tests/Quake", "org..x/q",
     ".org.x/q", "org.tests/a/b", "org.tests/quake\n", "org.ex ample/q", "org.tests/" + "q" * 64, 5, None],
)  # fmt: skip
def test_odd_name_is_refused(name):
    with pytest.raises(InvalidName):
        lb.register(Aftershock, name, list, list)


def test_the_same_again_replaces_and_something_else_is_refused():
    class Local:
        pass

    def register(cls, name):
        lb.register(cls, name, lambda value: None, lambda parts: cls())

    register(Local, "org.tests/local")
    register(Local, "org.tests/local")
    newer = type("Local", (), {"__qualname__": Local.__qualname__, "__module__": Local.__module__})
    register(newer, "org.tests/local")  # the cell of a notebook, run again
    assert Local not in OWN
    assert type(there_and_back(newer())) is newer
    with pytest.raises(InvalidName, match="already is the name of"):
        register(Aftershock, "org.tests/local")
    with pytest.raises(InvalidName, match=r"is registered as 'org.tests/local'"):
        register(newer, "org.tests/other")


@pytest.mark.parametrize("cls", [int, dict, np.ndarray, np.float32])
def test_class_that_travels_anyway_is_refused(cls):
    with pytest.raises(InvalidName, match="travel without it"):
        lb.register(cls, "org.tests/own", list, list)


class Basin(enum.Enum):
    NORTH = 1


@dataclasses.dataclass
class Region:
    west: float


class Model(pydantic.BaseModel):
    west: float


class Row(NamedTuple):
    west: float


class Filter:
    def __call__(self, value):
        return value


@pytest.mark.parametrize("cls", [Basin, Region, Model, Row, Filter])
def test_class_whose_objects_a_call_would_change_before_is_refused(cls):
    with pytest.raises(InvalidName, match="travel"):
        lb.register(cls, "org.tests/own", list, list)


@pytest.mark.parametrize("arguments", [("no class", list, list), (Aftershock, None, list), (Aftershock, list, 5)])
def test_what_is_no_class_or_function_is_refused(arguments):
    cls, encoder, decoder = arguments
    with pytest.raises(TypeError, match="a class, a name, and two functions"):
        lb.register(cls, "org.tests/odd", encoder, decoder)
