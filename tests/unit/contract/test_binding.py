"""Binding words its errors as Python does."""

import pytest

from landbridge.contract import bind, read_module


def plain(first, last, scale=1): ...
def one(a): ...
def none(): ...
def keyword(a, *, k, m=1): ...
def three(a, b, c): ...
def places(a, b=1, /, c=2): ...
def any_number(a, /, *args, **rest): ...


def spec_of(function):
    return read_module("a/b", None, {function.__name__: function})[0].methods[function.__name__]


CASES = [
    (plain, (1,), {}),
    (plain, (), {}),
    (plain, (1, 2, 3, 4), {}),
    (plain, (1, 2), {"first": 3}),
    (plain, (1, 2), {"zzz": 3}),
    (one, (1, 2), {}),
    (none, (1,), {}),
    (none, (1, 2), {}),
    (keyword, (1,), {}),
    (keyword, (1, 2), {"k": 1}),
    (keyword, (1, 2, 3), {"k": 1, "m": 2}),
    (keyword, (), {"k": 1}),
    (three, (), {}),
    (places, (), {"a": 1}),
    (places, (1,), {"b": 1}),
    (places, (), {}),
    (any_number, (), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CASES)
def test_errors_are_those_of_python(function, args, kwargs):
    with pytest.raises(TypeError) as python:
        function(*args, **kwargs)
    with pytest.raises(TypeError) as ours:
        bind(spec_of(function), args, kwargs)
    assert str(ours.value) == str(python.value)


def test_a_misspelt_keyword_is_guessed():
    with pytest.raises(
        TypeError, match=r"plain\(\) got an unexpected keyword argument 'frist'. Did you mean 'first'\?"
    ):
        bind(spec_of(plain), (), {"frist": 1})


def test_what_is_not_given_is_left_to_the_function():
    assert bind(spec_of(plain), (1,), {"last": 2}) == {"first": 1, "last": 2}
    assert bind(spec_of(none), (), {}) == {}


def test_further_values_go_under_the_names_of_their_parameters():
    assert bind(spec_of(any_number), (1, 2, 3), {"z": 4}) == {"a": 1, "args": [2, 3], "z": 4}


@pytest.mark.parametrize("name", ["a", "args"])
def test_a_keyword_that_would_hide_a_position_is_refused(name):
    with pytest.raises(TypeError, match="given by position"):
        bind(spec_of(any_number), (1,), {name: 2})
