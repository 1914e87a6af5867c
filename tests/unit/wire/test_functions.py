"""Functions of the caller: numbers on the wire, and only where arguments are read."""

from __future__ import annotations

import msgpack
import pytest

from landbridge.errors import CannotTravel, Malformed
from landbridge.wire import Function, decode, encode


def frame(value):
    return b"".join(encode(value))


def frame_of_index(index):
    header = msgpack.packb(msgpack.ExtType(1, msgpack.packb(["function", index])))
    return b"LB\x01\x00" + len(header).to_bytes(4, "little") + bytes(4) + header


def test_each_function_is_asked_for_once_wherever_it_stands():
    asked = []

    def function_of(index):
        asked.append(index)
        return lambda: index

    sent = {"f": Function(3), "more": [(Function(0), {"deep": Function(3)})], "x": 1}
    value = decode(frame(sent), function_of=function_of)
    assert sorted(asked) == [0, 3]
    assert value["f"]() == 3
    assert value["more"][0][0]() == 0
    assert value["more"][0][1]["deep"] is value["f"]


def test_functions_come_back_as_themselves():
    mine = [len, print]
    sent = {"a": Function(1), "b": {Function(0)}}
    assert decode(frame(sent), function_of=mine.__getitem__) == {"a": print, "b": {len}}


def test_only_arguments_may_hold_functions():
    with pytest.raises(Malformed, match="only the arguments of a call"):
        decode(frame([Function(0)]))


@pytest.mark.parametrize("index", [64, -1, 255, True, 1.0, "0", None, [0], b"\0", 2**70])
def test_a_number_that_no_function_has_is_malformed(index):
    if type(index) is int and index >= 2**64:
        index = msgpack.ExtType(1, msgpack.packb(["int", index.to_bytes(9, "little")]))
    with pytest.raises(Malformed):
        decode(frame_of_index(index), function_of=Function)


def test_the_last_number_is_63():
    assert decode(frame_of_index(63), function_of=Function) == Function(63)
    with pytest.raises(CannotTravel, match=r'value\["steps"\]\[1\].* takes 64'):
        encode({"steps": [Function(63), Function(64)]})


def test_a_function_as_key_is_one_entry():
    key = Function(0)
    assert decode(frame({key: 1}), function_of=Function) == {key: 1}
    pair = frame(Function(0))[12:]
    header = b"\x82" + pair + b"\x01" + pair + b"\x02"
    doubled = b"LB\x01\x00" + len(header).to_bytes(4, "little") + bytes(4) + header
    with pytest.raises(Malformed, match="equal"):
        decode(doubled, function_of=Function)


def test_what_the_receiver_raises_comes_as_it_is_or_as_malformed():
    def refuse(index):
        raise Malformed("no functions here")

    def fail(index):
        raise KeyError(index)

    with pytest.raises(Malformed, match="no functions here"):
        decode(frame(Function(0)), function_of=refuse)
    with pytest.raises(Malformed, match="KeyError"):
        decode(frame(Function(0)), function_of=fail)
