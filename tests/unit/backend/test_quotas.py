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
    assert quotas.enter([bound, small, large], ANNA, TARGET, 0.0).rules == (bound,)


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
