"""How many requests go to one module at a time, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from landbridge.client.pace import FEWEST, MOST, UNANSWERED, Pace
from landbridge.protocol import SILENCE_S


def test_so_many_go_and_the_rest_in_order_as_answers_come():
    pace = Pace[int]()
    assert [pace.may_go(number, 0.0) for number in range(UNANSWERED)] == [True] * UNANSWERED
    assert [pace.may_go(UNANSWERED + number, 0.0) for number in range(3)] == [False] * 3
    assert pace.next(0.0) is None
    for number in range(UNANSWERED - FEWEST):
        pace.ended(number, 1.0)
        assert pace.next(1.0) is None  # whoever has a crowd waiting leaves others their turn
    last = UNANSWERED - FEWEST
    pace.ended(last, 1.0)
    assert pace.next(1.0) == UNANSWERED
    assert pace.next(1.0) is None
    pace.ended(last, 1.0)  # twice is once
    assert pace.next(1.0) is None
    assert not pace.may_go(UNANSWERED + 3, 1.0)  # behind those that wait


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
        pace.ended(number, 0.0)
    assert not pace.may_go(UNANSWERED + 1, 0.0)
    assert [pace.next(0.0), pace.next(0.0), pace.next(0.0)] == [UNANSWERED, UNANSWERED + 1, None]


def test_one_that_ends_while_it_is_held_is_forgotten_and_gives_no_hope():
    pace = Pace[int]()
    for number in range(UNANSWERED + 2):
        pace.may_go(number, 0.0)
    pace.ended(UNANSWERED, 100.0)
    assert not pace.moves(100.0)
    for number in range(UNANSWERED):
        pace.ended(number, 100.0)
    assert pace.moves(100.0)
    assert pace.next(100.0) == UNANSWERED + 1


def out_after(answer_s: float) -> int:
    """Return how many are out together, of a crowd, once a thousand have been answered after `answer_s` of one each."""
    pace = Pace[int]()
    sent_at = {number: 0.0 for number in range(3000) if pace.may_go(number, 0.0)}
    now = 0.0
    for number in range(1000):
        now = max(now, sent_at[number]) + answer_s
        # A shortest time that says how far away the backend is, and what each waits behind the others.
        pace.answered(number, max(now, sent_at[number] + DISTANCE_S))
        while (following := pace.next(now)) is not None:
            sent_at[following] = now
    return len(sent_at) - 1000


DISTANCE_S = 0.02


def test_a_crowd_is_held_back_where_it_queues_and_not_where_it_travels():
    assert out_after(answer_s=0.01) == FEWEST  # ten milliseconds of work each: two would fill the line
    assert out_after(answer_s=0.0001) == MOST


@given(st.lists(st.sampled_from(["new", "answered", "later"]), max_size=600))
def test_never_too_many_are_out_and_every_one_goes_once_in_order(events):
    pace = Pace[int]()
    out: list[int] = []
    went: list[int] = []
    count = 0
    now = 0.0
    for event in [*events, *["answered"] * len(events)]:
        now += event == "later"
        if event == "new":
            if pace.may_go(count, now):
                out.append(count)
                went.append(count)
            count += 1
        elif out:
            pace.answered(out.pop(0), now)
            while (following := pace.next(now)) is not None:
                out.append(following)
                went.append(following)
        assert len(out) <= MOST
    assert went == list(range(count))
