"""A short storm; `make chaos` makes long ones. And what a storm is made of is the same for the same seed."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from chaos.judge import judge
from chaos.orders import KINDS, orders
from chaos.record import Plan
from chaos.storm import storm
from chaos.weather import forecast


@pytest.mark.timeout(240)  # half a minute on a quiet machine
def test_every_promise_is_kept_in_a_short_storm(tmp_path):
    plan = Plan(4355, 6.0, processes=2, backends=2, every_s=0.5, longest_s=3.0, patience_s=3.0)
    verdict = judge(asyncio.run(storm(plan, tmp_path)))
    assert verdict.broken == []
    # It was one: much was called, much went wrong, and every promise was looked at.
    assert sum(verdict.faults.values()) >= 8
    assert {
        "kill backend",
        "kill broker",
        "kill caller",
        "freeze backend",
        "stop backend",
        "half open",
        "cut",
    } <= verdict.faults.keys()
    assert {kind for kind, _ in verdict.outcomes} == {kind for kind in KINDS if not kind.startswith("worker")} | {
        "calm"
    }
    unseen = [promise.text for promise in verdict.promises if not promise.checked]
    assert set(unseen) <= {"What was said never to have run did not run"}  # nobody may have been told so


def test_the_same_seed_gives_the_same_storm():
    first, again, other = (forecast(seed, 600.0, 5, 3, 2.0, 20.0, True) for seed in (7, 7, 8))
    assert first == again != other
    assert [fault.at_s for fault in first] == sorted(fault.at_s for fault in first)
    assert len({fault.kind for fault in first}) == 15

    def some(seed, caller):
        return list(itertools.islice(orders(seed, caller, 1_000_000, workers=True), 500))

    assert some(7, "0.0-1") == some(7, "0.0-1")
    assert [order.arguments for order in some(7, "0.0-1")] != [order.arguments for order in some(7, "0.0-2")]
    assert {order.kind for order in some(7, "0.0-1")} == set(KINDS)
