"""How many requests go to one module at a time, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from landbridge.client.pace import UNANSWERED, Pace
from landbridge.protocol import SILENCE_S


def test_so_many_go_and_the_rest_in_order_as_answers_come():
    pace = Pace[int]()
    assert [pace.may_go(number, 0.0) for number in range(UNANSWERED)] == [True] * UNANSWERED
    assert [pace.may_go(UNANSWERED + number, 0.0) for number in range(3)] == [False] * 3
    assert pace.next(0.0) is None
    pace.answered(5, 1.0)
    assert pace.next(1.0) == UNANSWERED
    assert pace.next(1.0) is None
    pace.answered(5, 1.0)  # twice is once
    assert pace.next(1.0) is None


def test_those_who_wait_may_hope_while_anything_is_answered():
    pace = Pace[int]()
    for number in range(UNANSWERED + 1):
        pace.may_go(number, 100.0)
    assert pace.moves(100.0 + SILENCE_S / 2 - 0.1)
    assert not pace.moves(100.0 + SILENCE_S / 2)
    pace.answered(0, 110.0)
    assert pace.moves(110.0)


def test_one_that_is_held_and_asks_again_keeps_its_one_place():
    # As it does when the line breaks and comes back: a second place would never be given up.
    pace = Pace[int]()
    for number in range(UNANSWERED + 2):
        pace.may_go(number, 0.0)
    assert not pace.may_go(UNANSWERED, 0.0)
    for number in range(UNANSWERED):
        pace.answered(number, 0.0)
    assert not pace.may_go(UNANSWERED + 1, 0.0)
    assert [pace.next(0.0), pace.next(0.0), pace.next(0.0)] == [UNANSWERED, UNANSWERED + 1, None]


def test_one_that_ends_while_it_is_held_is_forgotten_and_gives_no_hope():
    pace = Pace[int]()
    for number in range(UNANSWERED + 2):
        pace.may_go(number, 0.0)
    pace.answered(UNANSWERED, 100.0)
    assert not pace.moves(100.0)
    pace.answered(0, 100.0)
    assert pace.moves(100.0)
    assert pace.next(100.0) == UNANSWERED + 1


@given(st.lists(st.sampled_from(["new", "answered"]), max_size=600))
def test_never_too_many_are_out_and_every_one_goes_once_in_order(events):
    pace = Pace[int]()
    out: list[int] = []
    went: list[int] = []
    count = 0
    for event in [*events, *["answered"] * len(events)]:
        if event == "new":
            if pace.may_go(count, 0.0):
                out.append(count)
                went.append(count)
            count += 1
        elif out:
            pace.answered(out.pop(0), 0.0)
            while (following := pace.next(0.0)) is not None:
                out.append(following)
                went.append(following)
        assert len(out) <= UNANSWERED
    assert went == list(range(count))
