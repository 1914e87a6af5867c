"""Calls that wait for an owner: how many, how long, and what becomes of each."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge import wire
from landbridge.backend.approvals import WAITING, WAITING_EACH, WAITS_S, Approvals, Verdict
from landbridge.backend.execution import check_conditions
from landbridge.backend.office import Held
from landbridge.backend.quotas import Quotas
from landbridge.errors import Busy, PermissionDenied
from landbridge.security import Caller, Condition, Rule, decide

ANNA = Caller("awi", "anna")
TARGET = "geomar/ocean.mean"


class Desk:
    def __init__(self):
        self.there, self.decided, self.full = {}, [], False

    def lay(self, item, said):
        if self.full:
            raise OSError("the disk is full")
        self.there[item] = said

    def verdicts(self):
        found, self.decided = self.decided, []
        return found

    def clear(self, item):
        self.there.pop(item, None)

    def close(self):
        self.there.clear()


class Call:
    """What matters of a call here; `became` tells what was done with it."""

    target = TARGET
    shown = None
    has_ended = False
    member = "mean"

    def __init__(self, call_id, approvals, size=8, caller=ANNA, error=None):
        self.call_id, self.caller, self.approvals, self.verdict = call_id, caller, approvals, {}
        parts = wire.encode(1.5)
        self.held = Held(parts, size, error)
        self.responder = self
        self.became = ""
        approvals.enter(self)

    def refuse(self, error, now):
        self.became = f"{error.code}: {error}"
        return []

    def act(self, actions):
        self.approvals.leave(self)

    def let_go(self):
        self.became = "let go"


async def laid(desk, count):
    async with asyncio.timeout(30):
        while len(desk.there) != count:
            await asyncio.sleep(0.01)


def running(test):
    async def main():
        desk = Desk()
        await test(desk, Approvals("geomar/ocean", desk, 1000), asyncio.get_running_loop())

    asyncio.run(main())


def test_each_is_decided_once():
    async def test(desk, approvals, loop):
        calls = [Call(name, approvals) for name in "abc"]
        for call in calls:
            approvals.ask(call, loop)
        await laid(desk, 3)
        of = {said["call"]: item for item, said in desk.there.items()}
        assert {said["result"]["preview"] for said in desk.there.values()} == {"1.5"}
        decided = (("a", True, ""), ("b", False, "no\x1b[31m"), ("nobody", True, ""), ("a", False, ""))
        desk.decided = [Verdict(of.get(name, name), accepted, why) for name, accepted, why in decided]
        approvals.look(loop.time())
        assert calls[0].became == "let go"
        assert calls[1].became.startswith("denied: geomar has looked at what came of geomar/ocean.mean, and does not")
        assert "no\ufffd[31m" in calls[1].became
        assert calls[2].became == ""
        assert [call.verdict.get("approval") for call in calls] == ["approved", "refused", None]
        assert len(desk.there) == 1
        approvals.leave(calls[2])
        assert desk.there == {}

    running(test)


def test_an_owner_who_is_away_for_a_week_refuses():
    async def test(desk, approvals, loop):
        call = Call("a", approvals)
        approvals.ask(call, loop)
        await laid(desk, 1)
        approvals.look(loop.time() + WAITS_S - 10)
        assert call.became == ""
        approvals.look(loop.time() + WAITS_S + 1)
        assert call.became.startswith("denied: Nobody at geomar has approved what came of geomar/ocean.mean within 7 d")
        assert desk.there == {}

    running(test)


def test_how_many_may_wait_and_how_much():
    async def test(desk, approvals, loop):
        calls = [Call(f"{number}", approvals) for number in range(WAITING_EACH)]
        with pytest.raises(Busy, match="100 calls of awi/anna"):
            approvals.check_room(TARGET, ANNA)
        for number in range(WAITING_EACH, WAITING):
            caller = Caller("awi", f"p{number}")
            approvals.check_room(TARGET, caller)
            Call(f"{number}", approvals, caller=caller)
        with pytest.raises(Busy, match="1,000 calls run or wait"):
            approvals.check_room(TARGET, Caller("gfz", "tom"))
        approvals.leave(calls[0])
        approvals.check_room(TARGET, ANNA)
        for call, size in ((calls[1], 200), (calls[2], 200), (calls[3], 50)):
            call.held = Held(call.held.parts, size, None)
            approvals.ask(call, loop)
        assert [call.became for call in calls if call.became] == [calls[2].became]
        # How long it is, nobody has approved.
        assert "no more than 250 bytes for awi/anna wait for the approval" in calls[2].became
        assert "200" not in calls[2].became
        await laid(desk, 2)

    running(test)


def test_a_call_is_refused_before_it_runs_when_what_waits_has_no_room():
    async def test(desk, approvals, loop):
        people = [Caller("awi", f"p{number}") for number in range(4)]
        for caller in people:
            approvals.check_room(TARGET, caller)
            approvals.ask(Call(caller.person, approvals, 250, caller), loop)
            with pytest.raises(Busy, match=f"250 bytes for {caller} wait for the approval"):
                approvals.check_room(TARGET, caller)
        with pytest.raises(Busy, match="1,000 bytes wait for the approval"):
            approvals.check_room(TARGET, ANNA)
        await laid(desk, 4)
        desk.decided = [Verdict(item, False) for item in desk.there]
        approvals.look(loop.time())
        approvals.check_room(TARGET, people[0])

    running(test)


def test_a_call_whose_arguments_show_that_it_needs_approval_is_counted_then_and_once():
    async def test(desk, approvals, loop):
        calls = [Call(f"{number}", approvals) for number in range(WAITING_EACH)]
        approvals.admit(calls[0])
        further = Call("further", approvals)
        approvals.leave(further)
        with pytest.raises(Busy, match="100 calls of awi/anna"):
            approvals.admit(further)
        approvals.leave(calls[0])
        further.has_ended = True
        approvals.admit(further)
        approvals.check_room(TARGET, ANNA)
        further.has_ended = False
        approvals.admit(further)
        with pytest.raises(Busy, match="100 calls of awi/anna"):
            approvals.check_room(TARGET, ANNA)

    running(test)


def test_what_comes_soon_after_something_else_is_told_too(caplog):
    async def test(desk, approvals, loop):
        began = loop.time()
        calls = [Call(name, approvals) for name in "abcd"]
        for call in calls:
            approvals.ask(call, loop)
        approvals.look(began + 9)
        assert len(caplog.records) == 1
        approvals.leave(calls[1])
        approvals.look(loop.time() + 10.1)
        approvals.look(loop.time() + 30)
        assert [record.getMessage() for record in caplog.records] == [
            "awi/anna: what came of geomar/ocean.mean waits for you: landbridge approve",
            "awi/anna: what came of geomar/ocean.mean and of 1 more of his calls waits for you: landbridge approve",
        ]

    running(test)


def test_values_are_looked_at_in_one_thread_and_in_none_of_those_that_are_for_all():
    async def test(desk, approvals, loop):
        seen, lay = set(), desk.lay

        def note(item, said):
            seen.add(threading.current_thread())
            lay(item, said)

        desk.lay = note
        for number in range(8):
            approvals.ask(Call(f"{number}", approvals), loop)
        await laid(desk, 8)
        assert len(seen) == 1
        assert loop._default_executor is None

    running(test)


def test_who_cannot_be_asked_lets_nothing_go():
    with pytest.raises(PermissionDenied, match="has nowhere to ask"):
        Approvals("geomar/ocean", None, 1000).check_room(TARGET, ANNA)

    async def test(desk, approvals, loop):
        desk.full = True
        call = Call("a", approvals)
        approvals.ask(call, loop)
        async with asyncio.timeout(30):
            while not call.became:
                await asyncio.sleep(0.01)
        assert call.became.startswith("busy:")

    running(test)


def test_a_call_that_ends_while_it_is_shown_leaves_nothing():
    async def test(desk, approvals, loop):
        call = Call("a", approvals)
        approvals.ask(call, loop)
        approvals.leave(call)
        await asyncio.sleep(0.2)
        assert desk.there == {}

    running(test)


def test_of_an_error_its_text_is_shown_and_of_what_cannot_be_read_that():
    async def test(desk, approvals, loop):
        wrong = Call("b", approvals)
        wrong.held = Held([b"no frame"], 8, None)
        meta = {"code": "remote_error", "type": "KeyError", "text": "x"}
        for call in (Call("a", approvals, error=meta), wrong):
            approvals.ask(call, loop)
        await laid(desk, 2)
        results = {said["call"]: said["result"] for said in desk.there.values()}
        assert results["a"] == {"type": "error KeyError", "bytes": 1, "preview": "x"}
        assert "cannot be shown" in results["b"]["preview"]

    running(test)


class Running:
    def __init__(self, ration, rules, held):
        self.rules, self.held, self.call, self.target, self.caller = rules, held, self, TARGET, ANNA
        self.ration = ration

    def keeps(self, rules):
        self.held = self.ration.keep(rules, 0.0).approve

    @staticmethod
    def function(first):
        """Take what a method would."""


conditions = st.sampled_from([(), (Condition("first", 0, 5),), (Condition("first", 4, 9),)])
rules = st.builds(
    Rule, st.just("awi/*"), concurrent=st.sampled_from([None, 5]), conditions=conditions, approve=st.booleans()
)


@given(st.lists(rules, min_size=1, max_size=4), st.integers(-1, 10), st.booleans())
def test_a_result_is_held_unless_a_rule_that_the_call_keeps_does_without(rules, first, per_call):
    fitting = [rule for rule in rules if not any(each.why_not({"first": first}) for each in rule.conditions)]
    decision = decide(ANNA, "geomar", "geomar/ocean", "mean", rules, approve=per_call)
    ration = Quotas().enter(decision.rules, ANNA, TARGET, 0.0) if decision.rules else None
    call = Running(
        ration, () if ration is None else ration.rules, decision.approve if ration is None else ration.approve
    )
    try:
        if call.rules:
            check_conditions(call, (first,), {})
    except PermissionDenied:
        assert not fitting
    else:
        assert fitting
        assert call.held == (per_call or all(rule.approve for rule in fitting))
