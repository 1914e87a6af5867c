"""What is lowered, what is left, and what hostile shapes cost."""

import dataclasses
import enum
from collections import namedtuple

import numpy as np

from landbridge.contract import lower_arguments


class Basin(enum.Enum):
    NORTH = "n"


class Use(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Node:
    kids: list


Point = namedtuple("Point", "x y")


def test_plain_values_are_returned_as_they_are():
    for value in (1, "a", None, [1, [2.0, "x"]], {"a": {"b": (1,)}}, np.zeros(3), {1, 2}):
        assert lower_arguments(value) is value


def test_the_given_object_is_not_changed():
    given = {"a": [Basin.NORTH]}
    assert lower_arguments(given) == {"a": ["n"]}
    assert given == {"a": [Basin.NORTH]}


def test_flags_and_named_tuples():
    assert lower_arguments([Use.READ | Use.WRITE, Point(1, Basin.NORTH)]) == [3, (1, "n")]
    assert type(lower_arguments(Point(1, 2))) is tuple


def test_a_cycle_is_left_for_the_wire_to_refuse():
    loop = [Basin.NORTH]
    loop.append(loop)
    assert lower_arguments(loop)[1] is loop
    node = Node([])
    node.kids.append(node)
    assert isinstance(lower_arguments(node), dict)


def test_shared_values_are_lowered_once():
    value = [Basin.NORTH]
    for _ in range(60):  # 2 ** 60 paths
        value = [value, value]
    lowered = lower_arguments(value)
    assert lowered[0] is lowered[1]


def test_a_member_that_occurs_twice_is_lowered_twice():
    assert lower_arguments([Basin.NORTH, {"a": Basin.NORTH}]) == ["n", {"a": "n"}]


def test_keys_that_would_fall_together_are_left():
    both = {Basin.NORTH: 1, "n": 2}
    assert lower_arguments(both) is both
    members = {Basin.NORTH, "n"}
    assert lower_arguments(members) is members


def test_unknown_objects_are_left():
    thing = object()
    assert lower_arguments([thing])[0] is thing


def test_records_in_sets_and_keys_are_left():
    @dataclasses.dataclass(frozen=True)
    class Place:
        x: int

    for value in ({Place(1)}, {Place(1): 2}):
        assert lower_arguments(value) is value
