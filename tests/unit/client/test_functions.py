"""Functions that a call was given: how they are found, and what the method is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge import wire
from landbridge.client.functions import Functions, encoded, raised_meta
from landbridge.errors import Malformed, RemoteError, TooLarge, remote_error
from landbridge.protocol import FUNCTION_BYTES, meta_to_error


def frame(value: object) -> memoryview:
    return memoryview(b"".join(wire.encode(value)))


def test_a_function_that_is_given_twice_has_one_number():
    functions = Functions()
    assert not functions
    numbers = [functions.stand_in(function).index for function in (abs, max, abs)]
    assert numbers == [0, 1, 0]
    assert functions[1] is max


def test_a_question_names_its_function_and_arguments():
    functions = Functions()
    functions.stand_in(abs)
    functions.stand_in(max)
    assert functions.find(1, frame([[1, 2], {"key": 3}])) == (max, (1, 2), {"key": 3})


@pytest.mark.parametrize(
    ("index", "asked"),
    [
        (1, [[], {}]),
        (63, [[], {}]),
        (0, [[]]),
        (0, [[], {}, 1]),
        (0, [{}, []]),
        (0, [[], {1: 2}]),
        (0, "a text"),
        (0, None),
    ],
)
def test_a_question_that_is_none_is_refused(index, asked):
    functions = Functions()
    functions.stand_in(abs)
    with pytest.raises(Malformed):
        functions.find(index, frame(asked))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_question_give_a_typed_error(noise):
    functions = Functions()
    functions.stand_in(abs)
    with pytest.raises(Malformed):
        functions.find(0, memoryview(noise))


def test_too_much_is_not_given_to_a_method():
    assert wire.decode(b"".join(encoded([1, "two"]))) == [1, "two"]
    with pytest.raises(TooLarge) as caught:
        encoded(bytes(FUNCTION_BYTES))
    assert caught.value.limit_bytes == FUNCTION_BYTES


class OwnError(FileNotFoundError):
    pass


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "builtin", "text"),
    [
        (KeyError("sst"), KeyError, "KeyError: 'sst'"),
        (OwnError("no such cruise"), FileNotFoundError, "OwnError: no such cruise"),
        (Broken(), RemoteError, "Broken"),
        (KeyboardInterrupt(), RemoteError, "KeyboardInterrupt"),
        (ValueError("\x1b[31mred"), ValueError, "ValueError: \ufffd[31mred"),
        (remote_error("a/b.c", "KeyError", "'x'", "a1b2", "KeyError"), KeyError, "KeyError: 'x'"),
    ],
)
def test_what_a_function_raises_is_told_as_what_it_is(error, builtin, text):
    told = meta_to_error(raised_meta(error), "a function of the caller")
    assert isinstance(told, builtin)
    assert isinstance(told, RemoteError)
    assert str(told).startswith(text)
