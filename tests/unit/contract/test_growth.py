"""Arguments that are small on the wire and would become large, or slow, on the way to the function."""

import pathlib
import typing
import uuid
from typing import Annotated, Any

import numpy as np
import pydantic
import pytest

from landbridge.contract import read_module
from landbridge.contract.growth import MAX_ENTRIES
from landbridge.errors import InvalidArguments

PRIME = 2**61 - 1
COLLIDING = [number * PRIME for number in range(5000)]


def method(hint: Any):
    def f(x): ...

    f.__annotations__ = {"x": hint}
    return read_module("a/b", None, {"f": f})[1]["f"]


def refused(hint: Any, value: Any) -> str:
    with pytest.raises(InvalidArguments) as caught:
        method(hint).check({"x": value})
    return str(caught.value)


LISTS = [list[list[int]], list[tuple[int, ...]], dict[str, list[int]], list[set[int]], list[typing.Sequence[int]]]


@pytest.mark.parametrize("hint", LISTS, ids=str)
def test_many_ranges_share_one_budget(hint):
    ranges = [range(300_000)] * 10
    value = {str(number): each for number, each in enumerate(ranges)} if hint is LISTS[2] else ranges
    assert f"{MAX_ENTRIES:,}" in refused(hint, value)


@pytest.mark.parametrize("hint", [list[int], tuple[int, ...], set[int], frozenset[int], list[int] | str], ids=str)
@pytest.mark.parametrize("value", [range(2**21), range(10**12), range(2**200)], ids=["long", "longer", "beyond len"])
def test_range_that_is_too_long_is_refused(hint, value):
    refused(hint, value)


def test_range_for_further_values_is_bounded_too():
    def f(*args: int): ...

    made = read_module("a/b", None, {"f": f})[1]["f"]
    assert made.check({"args": range(3)}) == ((0, 1, 2), {})
    with pytest.raises(InvalidArguments):
        made.check({"args": range(10**12)})


def test_each_call_has_its_own_budget():
    made = method(list[int])
    for _ in range(3):
        assert len(made.check({"x": range(1_000_000)})[1]["x"]) == 1_000_000
    with pytest.raises(InvalidArguments):
        made.check({"x": range(2**21)})
    assert made.check({"x": range(3)}) == ((), {"x": [0, 1, 2]})


def test_ranges_within_the_budget_become_lists_anywhere():
    assert method(list[list[int]]).check({"x": [range(1990, 1993), range(2)]})[1]["x"] == [[1990, 1991, 1992], [0, 1]]


@pytest.mark.parametrize("shape", [(2**40, 0), (2**22,) + (1,) * 30], ids=["empty", "of single items"])
def test_array_of_mostly_brackets_is_refused(shape):
    hint: Any = list
    for _ in shape[1:]:
        hint = list[hint]
    array = np.empty(shape, np.uint8) if 0 in shape else np.broadcast_to(np.uint8(1), shape)
    refused(hint, array)


def test_array_with_content_becomes_lists():
    array = np.ones((200, 30, 2))
    assert method(list[list[list[float]]]).check({"x": array})[1]["x"] == array.tolist()


COLLISIONS = {
    "set of numbers": (set[int], COLLIDING),
    "frozenset of numbers": (frozenset[int], COLLIDING),
    "set of a tuple": (set[int], tuple(COLLIDING)),
    "set of anything": (set, [*COLLIDING, []]),
    "set of a range": (set[int], range(0, 5000 * PRIME, PRIME)),
    "set in a list": (list[set[int]], [[1], COLLIDING]),
    "half of them": (set[int], [*COLLIDING, *range(1, 5001)]),
    "set of tuples from lists": (
        set[tuple[int, ...]],
        [[-1 - (number >> bit & 1) for bit in range(12)] for number in range(4096)],
    ),
    "set of UUIDs from texts": (set[uuid.UUID], [str(uuid.UUID(int=number)) for number in COLLIDING]),
    "keys that become UUIDs": (dict[uuid.UUID, int], {str(uuid.UUID(int=number)): 1 for number in COLLIDING}),
    "set by pydantic": (Annotated[set[int], pydantic.WrapValidator(lambda value, made: made(value))], COLLIDING),
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_items_of_one_hash_are_refused_before_a_set_is_made(name):
    hint, value = COLLISIONS[name]
    assert "of one hash" in refused(hint, value)


def test_range_is_no_endless_list_for_pydantic():
    refused(Annotated[list[int], pydantic.WrapValidator(lambda value, made: made(value))], range(10**12))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (set[int], [1, 2] * 5000),
        (set[float], [float(2**power) for power in range(1000)]),
        (set[pathlib.PurePosixPath], [f"/data/{number}" for number in range(500)]),
        (set[tuple[int, int]], [[-1 - i, -1 - j] for i in range(20) for j in range(20)]),
        (dict[uuid.UUID, int], {str(uuid.UUID(int=number)): number for number in range(500)}),
    ],
    ids=str,
)
def test_honest_lists_become_sets_and_keys(hint, value):
    made = method(hint).check({"x": value})[1]["x"]
    assert type(made) in (set, dict)
    assert len(made) == (2 if hint == set[int] else len(value))


def test_wrong_item_of_a_long_list_is_named_by_its_place():
    with pytest.raises(InvalidArguments, match=r"x\[70\]: must be a UUID"):
        method(set[uuid.UUID]).check({"x": [*(str(uuid.UUID(int=number)) for number in range(70)), 5]})
