"""The limits of a method: never too many at a time, nobody is lost, nobody starves, positions tell the truth."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from landbridge.backend.admission import Admission
from landbridge.errors import Busy

_SECONDS = st.floats(0, 1e6)


class Crowd(RuleBasedStateMachine):
    """Callers who enter, leave and withdraw as they like; what the limits say is kept beside it."""

    inside = Bundle("inside")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.running: set[int] = set()
        self.waiting: dict[int, str] = {}
        # How many calls of others began to run while a call waited, for each of these others.
        self.overtaken: dict[int, dict[str, int]] = {}
        self.admission: Admission[int] | None = None

    @rule(concurrency=st.integers(1, 4), queue=st.integers(0, 12))
    @precondition(lambda self: self.admission is None)
    def open(self, concurrency: int, queue: int) -> None:
        self.concurrency, self.queue = concurrency, queue
        self.admission = Admission("a/b.c", concurrency=concurrency, queue=queue)

    @rule(target=inside, who=st.sampled_from("abcd"))
    @precondition(lambda self: self.admission is not None)
    def enter(self, who: str) -> int:
        self.count += 1
        was_full = len(self.running) == self.concurrency
        own = sum(each == who for each in self.waiting.values())
        if was_full and (len(self.waiting) == self.queue or 2 * own >= self.queue):
            with pytest.raises(Busy) as caught:
                self.admission.enter(who, self.count)
            assert 0.2 <= caught.value.retry_after_s <= 30
            return self.count
        assert self.admission.enter(who, self.count) is not was_full
        if not was_full:
            self.running.add(self.count)
        else:
            self.waiting[self.count] = who
            self.overtaken[self.count] = {}
        return self.count

    @rule(item=inside, seconds=_SECONDS)
    def leave(self, item: int, seconds: float) -> None:
        expected = sorted(self.waiting, key=self.admission.position)[:1] if item in self.running else []
        started = self.admission.leave(item, seconds)
        assert started == expected
        self.running.discard(item)
        for each in started:
            who = self.waiting.pop(each)
            del self.overtaken[each]
            self.running.add(each)
            for overtaken in self.overtaken.values():
                overtaken[who] = overtaken.get(who, 0) + 1

    @rule(item=inside)
    def withdraw(self, item: int) -> None:
        assert self.admission.withdraw(item) is (item in self.waiting)
        self.waiting.pop(item, None)
        self.overtaken.pop(item, None)

    @invariant()
    def the_limits_hold_and_no_place_is_left_free(self) -> None:
        if self.admission is not None:
            assert len(self.running) <= self.concurrency
            assert len(self.waiting) <= self.queue
            assert not self.waiting or len(self.running) == self.concurrency

    @invariant()
    def positions_are_true(self) -> None:
        if self.admission is not None:
            places = sorted(self.admission.position(item) for item in self.waiting)
            assert places == list(range(1, len(self.waiting) + 1))
            assert not any(self.admission.position(item) for item in self.running)

    @invariant()
    def nobody_is_overtaken_more_often_than_its_own_turns_allow(self) -> None:
        for item, overtaken in self.overtaken.items():
            who = self.waiting[item]
            own = overtaken.get(who, 0)
            # Between two turns of one who always waits, each other has at most one; and one before the first.
            assert all(times <= own + 1 for other, times in overtaken.items() if other != who)

    def teardown(self) -> None:
        if self.admission is None:
            return
        while self.running:
            item = self.running.pop()
            started = self.admission.leave(item, 1.0)
            for each in started:
                del self.waiting[each]
                self.running.add(each)
        assert not self.waiting  # everybody who was let in has run


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def _told_to_wait(seconds: list[float], *, concurrency: int, queue: int) -> float:
    """Return what a refused call is told when calls lasted so long, and the queue is full."""
    admission = Admission[int]("a/b.c", concurrency=concurrency, queue=queue)
    for number, lasted in enumerate(seconds):
        admission.enter("a", -1 - number)
        admission.leave(-1 - number, lasted)
    for number in range(concurrency + queue):
        admission.enter(f"a{number}", number)
    with pytest.raises(Busy) as caught:
        admission.enter("b", 99)
    return caught.value.retry_after_s


def test_who_is_refused_is_told_for_how_long_the_others_will_take():
    assert _told_to_wait([4.0], concurrency=1, queue=0) == 4.0
    assert _told_to_wait([4.0], concurrency=2, queue=3) == 8.0
    assert _told_to_wait([0.001], concurrency=1, queue=3) == 0.2
    assert _told_to_wait([3600.0], concurrency=1, queue=3) == 30.0


@given(st.floats(1, 5), st.integers(0, 30))
def test_what_calls_lasted_lately_counts_more(before: float, how_many: int) -> None:
    assert abs(_told_to_wait([before] * how_many + [2.0] * 30, concurrency=1, queue=0) - 2.0) < 0.1


def test_the_text_says_what_the_owner_allows():
    admission = Admission[str]("a/b.c", concurrency=2, queue=1)
    for item in ("1", "2", "3"):
        admission.enter("anna", item)
    with pytest.raises(Busy, match=r"a/b\.c was refused: its owner lets 2 of its calls run at a time, and 1 wait"):
        admission.enter("ben", "4")


@pytest.mark.parametrize("limits", [{"concurrency": 0, "queue": 1}, {"concurrency": 1, "queue": -1}])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match="must be at least"):
        Admission[str]("a/b.c", **limits)
