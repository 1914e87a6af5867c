"""What follows when a backend has ended, and how that is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.hub.restarts import SERVED_WELL_S, Again, End, Failure, GiveUp, Passed, Restarts, how_it_ended

MISTAKE, REFUSED = Failure(for_good=False), Failure(for_good=True)
CRASH = End(code=-11, served_s=None)


def test_a_mistake_before_anything_was_served_ends_the_command():
    assert Restarts().after(End(2, None, MISTAKE)) == Passed(2)


def test_who_crashes_before_anything_was_served_gets_five_starts():
    restarts = Restarts()
    told = [restarts.after(CRASH) for _ in range(5)]
    assert told == [Again(0.0), Again(0.5), Again(1.0), Again(2.0), GiveUp(5)]


def test_what_has_served_is_started_again_for_ever_with_growing_waits():
    restarts = Restarts()
    waits = [restarts.after(End(-9, 1.0)).wait_s, *(restarts.after(CRASH).wait_s for _ in range(20))]
    assert waits[:8] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(waits[8:]) == {30.0}


def test_a_minute_of_service_makes_good_for_what_was_before():
    restarts = Restarts()
    for _ in range(4):
        restarts.after(End(-9, 1.0))
    assert restarts.after(End(-9, SERVED_WELL_S)) == Again(0.0)


def test_a_mistake_after_it_has_served_may_pass():
    restarts = Restarts()
    restarts.after(End(-9, 1.0))
    assert restarts.after(End(5, None, MISTAKE)) == Again(0.5)  # the broker is away, say
    assert restarts.after(End(4, None, REFUSED)) == Passed(4)


def test_a_change_of_the_source_starts_at_once():
    restarts = Restarts()
    for _ in range(4):
        restarts.after(End(-9, 1.0))
    restarts.changed()
    assert restarts.after(CRASH) == Again(0.0)


@given(st.lists(st.tuples(st.integers(-64, 255), st.none() | st.floats(0, 1e6)), max_size=40))
def test_what_has_served_and_is_not_refused_always_comes_back_within_30_s(ends):
    restarts = Restarts()
    restarts.after(End(-9, 0.0))
    for code, served_s in ends:
        verdict = restarts.after(End(code, served_s))
        assert isinstance(verdict, Again)
        assert 0 <= verdict.wait_s <= 30


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (End(-9, 1.0), "was killed (SIGKILL), by somebody or by the system for want of memory"),
        (End(-11, 1.0), "crashed in compiled code (SIGSEGV)"),
        (End(-15, 1.0), "was ended by SIGTERM"),
        (End(-99, 1.0), "was ended by signal 99"),
        (End(0, 1.0), "ended in order, told to by somebody else"),
        (End(7, 1.0), "ended with exit code 7, without an error of its own: something in it called os._exit"),
        (End(5, 1.0, MISTAKE), "ended with the error above"),
    ],
)
def test_every_way_to_end_has_its_words(end, said):
    assert how_it_ended(end) == said
