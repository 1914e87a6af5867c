"""The fair queue: its order is round robin, its positions tell the truth."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.backend.fair import FairQueue

_PEOPLE = st.lists(st.sampled_from("abcd"), max_size=30)


def _filled(people: list[str]) -> FairQueue[int]:
    queue = FairQueue[int]()
    for number, who in enumerate(people):
        queue.put(who, number)
    return queue


@given(_PEOPLE)
def test_everything_comes_out_once_and_in_order_for_each(people: list[str]) -> None:
    queue = _filled(people)
    served = [queue.pop() for _ in range(len(queue))]
    assert sorted(served) == list(range(len(people)))
    for who in set(people):
        mine = [number for number in served if people[number] == who]
        assert mine == sorted(mine)


@given(_PEOPLE)
def test_nobody_is_served_twice_while_another_waits(people: list[str]) -> None:
    queue = _filled(people)
    served = [people[queue.pop()] for _ in range(len(queue))]
    for place, (one, two) in enumerate(pairwise(served)):
        assert one != two or set(served[place + 1 :]) == {one}


@given(_PEOPLE, st.integers(0, 10))
def test_positions_are_the_order_of_serving(people: list[str], already: int) -> None:
    queue = _filled(people)
    for _ in range(min(already, len(queue))):
        queue.pop()
    left = [number for number in range(len(people)) if queue.position(number)]
    told = {queue.position(number): number for number in left}
    assert [told[place] for place in range(1, len(left) + 1)] == [queue.pop() for _ in range(len(queue))]


@given(_PEOPLE, st.data())
def test_what_is_discarded_never_comes_out(people: list[str], data: st.DataObject) -> None:
    queue = _filled(people)
    gone = data.draw(st.sets(st.integers(0, 40)))
    for number in gone:
        assert queue.discard(number) is (number < len(people))
    assert {queue.pop() for _ in range(len(queue))} == set(range(len(people))) - gone


def test_an_empty_queue_has_nothing() -> None:
    queue = FairQueue[int]()
    assert (len(queue), queue.position(1), queue.discard(1), queue.waiting("a")) == (0, 0, False, 0)
    with pytest.raises(IndexError):
        queue.pop()
