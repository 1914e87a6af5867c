"""Rations: nobody gets more than his, everybody gets his, and whoever is refused is told when to come again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.backend.quotas import Quotas
from landbridge.errors import Busy
from landbridge.security import Caller, Condition, Rule

ANNA, BOB = Caller("awi", "anna"), Caller("awi", "bob")
TARGET = "geomar/ocean.mean"


def test_calls_at_a_time():
    quotas, rule = Quotas(), Rule("awi/*", concurrent=2)
    first, _ = (quotas.enter([rule], ANNA, TARGET, 0.0) for _ in range(2))
    with pytest.raises(Busy, match="its owner allows awi/anna 2 calls at a time") as caught:
        quotas.enter([rule], ANNA, TARGET, 0.0)
    assert caught.value.retry_after_s > 0
    quotas.enter([rule], BOB, TARGET, 0.0)  # each has his own
    first.end(0, 1.0)
    quotas.enter([rule], ANNA, TARGET, 1.0)


def test_bytes_of_an_hour_may_be_overdrawn_once():
    quotas, rule = Quotas(), Rule("awi/*", bytes_per_hour=3600)
    quotas.enter([rule], ANNA, TARGET, 0.0).end(7200, 0.0)
    with pytest.raises(Busy, match="3,600 bytes an hour") as caught:
        quotas.enter([rule], ANNA, TARGET, 10.0)
    again = 10.0 + caught.value.retry_after_s
    assert again == pytest.approx(3601)
    quotas.enter([rule], ANNA, TARGET, again)


@given(st.integers(1, 50), st.lists(st.floats(0, 600), max_size=200))
def test_never_more_calls_than_the_ration_and_who_comes_when_told_is_let_in(ration, pauses):
    quotas, rule, now, let_in = Quotas(), Rule("awi/*", calls_per_hour=ration), 0.0, []
    for pause in pauses:
        now += pause
        try:
            quotas.enter([rule], ANNA, TARGET, now).end(0, now)
        except Busy as busy:
            assert let_in
            now += busy.retry_after_s + 1e-6
            quotas.enter([rule], ANNA, TARGET, now).end(0, now)
        let_in.append(now)
    for start in let_in:
        # A bucket that is full, and what flows into it in that hour.
        assert sum(start <= each < start + 3600 for each in let_in) <= 2 * ration + 1


def test_the_rule_that_has_room_counts_and_conditions_only_where_nothing_is_free_of_them():
    small, large = Rule("awi/*", calls_per_hour=1), Rule("awi/anna", calls_per_hour=2)
    bound = Rule("*/*", conditions=(Condition("year", 1980, 2010),))
    quotas = Quotas()
    assert quotas.enter([bound, small, large], ANNA, TARGET, 0.0).rules == ()
    assert quotas.enter([bound, small, large], ANNA, TARGET, 0.0).rules == ()
    assert quotas.enter([bound, small, large], ANNA, TARGET, 0.0).rules == ()
    # Both are used up: what is left is what holds for some arguments.
    ration = quotas.enter([bound, small, large], ANNA, TARGET, 0.0)
    assert ration.rules == (bound, small, large)
    assert ration.keep([bound, small, large], 0.0) is bound
    with pytest.raises(Busy, match="2 calls an hour") as caught:  # for what others are needed, there is room later
        quotas.enter([bound, small, large], ANNA, TARGET, 0.0).keep([small, large], 0.0)
    assert caught.value.retry_after_s == pytest.approx(1800)


HELD = Rule("awi/*", approve=True)
FIRST = (Condition("first", 0, 10),)


@pytest.mark.parametrize(
    "limited",
    [
        Rule("awi/*", conditions=FIRST, calls_per_hour=2),
        Rule("awi/*", conditions=FIRST, concurrent=2),
        Rule("awi/*", conditions=FIRST, bytes_per_hour=150),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_call_is_counted_under_the_rule_that_it_keeps_and_held_when_that_is_used_up(limited, order):
    quotas, rules = Quotas(), [HELD, limited][::order]
    for turn in range(4):
        ration = quotas.enter(rules, ANNA, TARGET, 0.0)
        assert ration.approve
        assert ration.keep(rules, 0.0) is (limited if turn < 2 else HELD)
        if limited.concurrent is None:
            ration.end(100, 0.0)
    # What keeps another one uses nothing of it.
    assert quotas.enter(rules, BOB, TARGET, 0.0).keep([HELD], 0.0) is HELD
    assert quotas.enter(rules, BOB, TARGET, 0.0).keep(rules, 0.0) is limited


def test_what_keeps_one_rule_only_waits_for_that_one():
    low, high = Rule("awi/*", conditions=FIRST), Rule("awi/*", conditions=FIRST * 2, calls_per_hour=1)
    quotas = Quotas()
    quotas.enter([low, high], ANNA, TARGET, 0.0).keep([high], 0.0)
    with pytest.raises(Busy, match="1 calls an hour") as caught:
        quotas.enter([low, high], ANNA, TARGET, 0.0).keep([high], 0.0)
    assert caught.value.retry_after_s == pytest.approx(3600)
    quotas.enter([low, high], ANNA, TARGET, 0.0).keep([low, high], 0.0)


def test_a_call_that_has_ended_before_its_arguments_were_looked_at_takes_no_place():
    rules = [HELD, Rule("awi/*", conditions=FIRST, concurrent=1)]
    quotas = Quotas()
    ended = quotas.enter(rules, ANNA, TARGET, 0.0)
    ended.end(0, 0.0)
    ended.keep(rules, 0.0)
    assert quotas.enter(rules, ANNA, TARGET, 0.0).keep(rules, 0.0) is rules[1]


def test_who_has_used_nothing_for_long_is_forgotten_and_who_runs_is_not():
    quotas, rule = Quotas(), Rule("*/*", calls_per_hour=5)
    for number in range(100):
        quotas.enter([rule], Caller("awi", f"p{number}"), TARGET, 0.0).end(0, 0.0)
    running = quotas.enter([rule], ANNA, TARGET, 0.0)
    quotas.expire(8000.0)
    assert [caller for _, caller in quotas._used] == [ANNA]
    running.end(0, 8000.0)
    quotas.expire(16000.0)
    assert not quotas._used
