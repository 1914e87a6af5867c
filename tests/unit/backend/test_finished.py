"""What a backend keeps of calls that have ended: for whom, how long, and how much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.backend import finished as module
from landbridge.backend.finished import Finished, FinishedCall
from landbridge.protocol import KEPT_S, WINDOW, Kind, Outgoing
from landbridge.security import Caller

ANNA, EVE = Caller("awi", "anna"), Caller("gfz", "eve")


def ended(call_id: str, caller: Caller = ANNA, size: int = 10, at: float = 0.0) -> FinishedCall:
    out = Outgoing(WINDOW, WINDOW)
    out.counted(Kind.RESULT, {}, [b"x"])
    return FinishedCall(call_id, caller, "_INBOX.somewhere", "", out, size, at)


def kept(finished: Finished, *call_ids: str) -> list[str]:
    return [call_id for call_id in call_ids if call_id in finished]


def test_a_call_is_found_by_whom_it_belongs_to_and_by_nobody_else():
    finished = Finished(1000)
    call = ended("a")
    finished.keep(call)
    assert finished.find("a", ANNA) is call
    assert finished.find("a", EVE) is None
    assert finished.find("b", ANNA) is None


def test_calls_are_kept_for_their_time_and_not_longer():
    finished = Finished(1000)
    finished.keep(ended("a", at=0.0))
    finished.keep(ended("b", at=1.0))
    finished.expire(KEPT_S - 0.1)
    assert kept(finished, "a", "b") == ["a", "b"]
    finished.expire(KEPT_S)
    assert kept(finished, "a", "b") == ["b"]
    finished.expire(KEPT_S + 1)
    assert (len(finished), finished.held_bytes) == (0, 0)


def test_the_oldest_go_when_there_are_too_many_bytes():
    finished = Finished(100)
    for number in range(30):
        finished.keep(ended(str(number), size=20))
    assert finished.held_bytes == 100
    assert kept(finished, *map(str, range(30))) == ["25", "26", "27", "28", "29"]


def test_there_are_never_more_than_so_many(monkeypatch):
    monkeypatch.setattr(module, "CALLS_KEPT", 50)
    finished = Finished(10**9)
    for number in range(500):
        finished.keep(ended(str(number)))
    assert len(finished) == 50


def test_whoever_keeps_most_makes_room_out_of_his_own():
    finished = Finished(1000)
    finished.keep(ended("hers", ANNA, size=300))
    for number in range(100):
        finished.keep(ended(str(number), EVE, size=100))
    assert "hers" in finished
    assert kept(finished, *map(str, range(100))) == [str(number) for number in range(93, 100)]


def test_one_value_that_fills_all_of_it_is_kept_itself():
    finished = Finished(100)
    finished.keep(ended("small", size=10))
    finished.keep(ended("large", size=150))
    assert kept(finished, "small", "large") == ["large"]


def test_the_latest_are_gone_through_first_and_older_ones_not_at_all():
    finished = Finished(1000)
    for number in range(5):
        finished.keep(ended(str(number), at=float(number)))
    assert [call.call_id for call in finished.since(2.0)] == ["4", "3", "2"]
    for call in finished.since(0.0):
        finished.drop(call.call_id)  # as it goes
    assert len(finished) == 0


@given(st.lists(st.tuples(st.sampled_from([ANNA, EVE, Caller("iow", "zoe")]), st.integers(0, 150)), max_size=60))
def test_whatever_is_kept_stays_within_its_bounds_and_the_newest_is_there(calls):
    finished = Finished(100)
    for number, (caller, size) in enumerate(calls):
        finished.keep(ended(str(number), caller, size))
        there = [other for other in range(number + 1) if str(other) in finished]
        assert there[-1] == number
        assert len(finished) == len(there)
        assert finished.held_bytes == sum(calls[other][1] for other in there)
        assert finished.held_bytes <= 100 or len(there) == 1
    for number in range(len(calls)):
        if str(number) in finished:
            finished.drop(str(number))
    assert (len(finished), finished.held_bytes) == (0, 0)


def test_dropping_what_is_not_there_is_a_mistake():
    with pytest.raises(KeyError):
        Finished(100).drop("a")


def with_long_value(call_id: str, size: int, at: float = 0.0) -> FinishedCall:
    call = ended(call_id, size=size, at=at)
    call.out.put(Kind.RESULT, {}, [bytes(2 * WINDOW)], 2 * WINDOW)
    return call


def test_what_came_in_one_message_is_bounded_apart_and_pushes_out_no_long_value(monkeypatch):
    monkeypatch.setattr(module, "MESSAGES_BYTES", 100)
    finished = Finished(10**9)
    finished.keep(with_long_value("long", 10**8))
    for number in range(50):
        finished.keep(ended(str(number), size=20))
    assert finished.held_bytes == 10**8 + 100
    assert kept(finished, "long", "44", "45", "49") == ["long", "45", "49"]
    assert [call.call_id for call in finished.since(0.0)] == ["49", "48", "47", "46", "45", "long"]
    finished.drop("long")
    finished.expire(KEPT_S)
    assert (len(finished), finished.held_bytes) == (0, 0)
