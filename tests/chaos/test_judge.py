"""The judge sees each kind of broken promise, and none where there is none."""

from __future__ import annotations

import json

import pytest

from chaos.judge import judge
from chaos.record import Happened, Plan, Record
from chaos.report import page

BACKEND, OTHER = 71, 72


def call(token="0.0-0-1", kind="small", outcome="value", begun=100.0, ended=101.0, limit_s=None, own_s=0.0):
    lines = [
        {"token": token, "kind": kind, "method": "add", "own_s": own_s, "limit_s": limit_s, "begun": begun},
        {"token": token, "outcome": outcome, "detail": "", "ended": ended},
    ]
    return [json.dumps(line) for line in (lines if ended is not None else lines[:1])]


def run(token="0.0-0-1", begun=100.1, ended=100.2, pid=BACKEND):
    start = f"start {token} {pid} {begun}"
    return [start] if ended is None else [start, f"end {token} {pid} {ended}"]


def record(calls=(), journal=(), **seen):
    return Record(
        Plan(1, 10.0), list(calls), list(journal), backend_of={BACKEND: "backend 0"}, alive_at_end={BACKEND}, **seen
    )


@pytest.mark.parametrize(
    "seen",
    [
        record(call(), run()),
        record(call(outcome="lost")),
        record(call(outcome="lost"), run(pid=OTHER, ended=None)),
        record(call(outcome="timeout", limit_s=2.0, ended=103.0), run()),
        record(call(kind="cancel", outcome="cancelled: stopped"), run()),
        record(call(kind="cancel", outcome="cancelled: running"), run(ended=150.0)),
        record(call(kind="fail", outcome="raised"), run()),
        record(call(kind="leave", outcome="left"), run()),
        record(call(kind="again"), [*run(ended=None, pid=OTHER), *run()]),
        record(call(ended=None), run(), killed_callers={"0.0": 105.0}),
        # A long silence, twice put off: the caller's line was cut, and its backend was frozen.
        record(
            call(outcome="lost", ended=150.0),
            run(),
            faults=[Happened("cut", "caller 0", 110.0, 110.0), Happened("freeze backend", "backend 0", 112.0, 120.0)],
        ),
    ],
)
def test_a_clean_record_breaks_nothing(seen):
    assert judge(seen).broken == []


@pytest.mark.parametrize(
    ("promise", "seen"),
    [
        ("Every call ended, but", record(call(ended=None))),
        ("within its bound", record(call(outcome="lost", ended=140.0))),
        ("within its bound", record(call(outcome="timeout", limit_s=2.0, ended=120.0), run())),
        # A fault that touches somebody else excuses nothing.
        ("within its bound", record(call(outcome="lost", ended=140.0), run(),
                                    faults=[Happened("cut", "caller 1", 110.0, 110.0),
                                            Happened("freeze backend", "backend 1", 110.0, 130.0)])),
        ("that fits", record(call(outcome="wrong"), run())),
        ("that fits", record(call(outcome="foreign KeyError"), run())),
        ("that fits", record(call(outcome="malformed"))),
        ("that fits", record(call(outcome="timeout"))),
        ("that fits", record(call(kind="timeout", outcome="value", limit_s=9.0), run())),
        ("more than once", record(call(), [*run(), *run(pid=OTHER)])),
        ("executed exactly once", record(call())),
        ("executed exactly once", record(call(kind="again"), run(ended=None, pid=OTHER))),
        ("executed exactly once", record(call(), run(ended=None, pid=OTHER))),
        ("never to have run", record(call(outcome="offline"), run())),
        ("to be stopped", record(call(kind="cancel", outcome="cancelled: stopped"), run(ended=101.5))),
        ("to be stopped", record(call(kind="cancel", outcome="cancelled: stopped"), run(ended=None, pid=OTHER))),
        ("After the storm", record(call(kind="calm", ended=110.0), run())),
        ("After the storm", record(call(kind="calm", outcome="lost"))),
        ("no code ran", record(call(outcome="lost"), run(ended=None))),
        ("in order", record(exits={"caller 0": None})),
        ("left behind", record(left_processes=["1 python"])),
        ("left behind", record(left_files=["tmp/x"])),
        ("left behind", record(left_memory=["psm_x"])),
        ("no subscription more", record(subscriptions_before={"a": 3}, subscriptions_after={"a": 3, "b": 1})),
        ("beyond what its like had", record(usage_before={"a": {"files": 9, "threads": 1, "megabytes": 1}},
                                    usage_after={"a": {"files": 19, "threads": 1, "megabytes": 1}})),
        ("failed inside", record(complaints=["backend_0: Traceback"])),
    ],
)  # fmt: skip
def test_what_is_broken_is_seen(promise, seen):
    verdict = judge(seen)
    assert verdict.broken
    assert any(promise in each for each in verdict.broken)


def test_the_page_is_the_same_for_the_same_verdicts_and_shows_what_is_broken():
    clean, broken = judge(record(call(), run())), judge(record(call(outcome="wrong"), run()))
    assert page([clean]) == page([clean])
    assert "No promise was broken." in page([clean])
    assert "Broken promises: 1." in page([clean, broken])
    assert "0.0-0-1 small add: wrong" in page([clean, broken])
