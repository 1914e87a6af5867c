"""Calls as the backend drives them: turns, refusals, and ends, each of them once."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading

import pytest

from landbridge import wire
from landbridge.backend.admission import Admission
from landbridge.backend.context import current_call
from landbridge.backend.metrics import Counts
from landbridge.backend.offer import Served
from landbridge.backend.quotas import Quotas
from landbridge.backend.runner import Runner, Style
from landbridge.backend.served import ServedCall
from landbridge.backend.threads import Mailbox
from landbridge.backend.usage import Usage
from landbridge.contract import read_module
from landbridge.errors import Busy
from landbridge.protocol import WINDOW, Kind, Phase, pack, unpack
from landbridge.security import Caller, Condition, Rule

ANNA = Caller("awi", "anna")
TARGET = "lab/work.wait"


class Office:
    """The backend that the calls belong to: keeps what is sent, and which calls have been let go of."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.runner = Runner(Mailbox(self.loop), 2)
        self.usage = Usage(2**30)
        self.counts = Counts()
        self.go, self.begun = threading.Event(), threading.Semaphore(0)
        self.sent: dict[str, list[str]] = {}
        self.open: set[str] = set()
        self.calls: dict[str, ServedCall] = {}
        self.outcomes: dict[str, str] = {}
        self.changed, self.asked = asyncio.Event(), asyncio.Event()
        self.how: dict[str, object] = {}  # what else calls are begun with
        self.method = read_module("lab/work", "", {"wait": self._wait})[1]["wait"]

    def _wait(self, data: bytes = b"", steps: int = 0) -> str:
        self.begun.release()
        for step in range(steps):
            current_call().progress(step, steps)
        self.go.wait(60)
        return "waited"

    def is_full(self, line):
        return False

    def publish(self, subject, parts):
        message = unpack(b"".join(parts))
        self.sent.setdefault(subject, []).append(message.meta.get("code", message.kind.name))

    def begins(self, call, frame):
        pass

    def admits(self, call):
        pass

    def ask_owner(self, call):
        self.asked.set()

    def forget(self, call):
        if call.call_id in self.open:
            self.open.remove(call.call_id)
            self.usage.leave(call)
            call.ended()
        self.changed.set()

    def call(self, name: str, *admissions: Admission, **arguments: object) -> ServedCall:
        call = ServedCall(
            TARGET, "0" * 32, Served(self.method, Style.FUNCTION, None, admissions=admissions), ANNA, name,
            usage=self.usage, counts=self.counts, trace=None, runner=self.runner, office=self,
            loop=asyncio.get_running_loop(), reply=name, **self.how,
            at_end=lambda outcome: self.outcomes.__setitem__(name, outcome),
        )  # fmt: skip
        self.open.add(name)
        self.calls[name] = call
        self.usage.enter(call)
        self.counts.begun += 1
        request = unpack(pack(Kind.CALL, 0, {"granted": WINDOW}) + b"".join(wire.encode(arguments)))
        call.act(call.responder.opened(request, self.loop.time()))
        return call

    async def until_ended(self, *names: str) -> None:
        async with asyncio.timeout(60):
            while self.open & set(names):
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def opened():
    office = Office()
    try:
        yield office
        office.go.set()
        await office.until_ended(*office.open)
        assert (office.usage.calls, office.usage.held_bytes, office.counts.running) == (0, 0, 0)
    finally:
        office.go.set()
        office.runner.close()


def limit(concurrency: int, queue: int = 10) -> Admission:
    return Admission(TARGET, concurrency=concurrency, queue=queue)


async def begins(office: Office) -> None:
    assert await asyncio.to_thread(office.begun.acquire, timeout=60)


def test_a_call_that_finds_the_queue_full_when_its_arguments_have_come_ends():
    async def main():
        async with opened() as office:
            only = limit(1, queue=0)
            office.call("first", only)
            office.call("second", only)
            assert office.open == {"first"}
            assert office.sent["second"] == ["busy"]
        assert office.outcomes == {"second": "busy", "first": "ok"}

    asyncio.run(main())


def test_arguments_are_held_for_their_caller_until_the_call_ends_however_it_ends():
    async def main():
        async with opened() as office:
            only = limit(1)
            office.call("runs", only, data=bytes(1000))
            await begins(office)
            one = office.usage.held_bytes
            assert one > 1000
            waits = office.call("waits", only, data=bytes(1000))
            assert office.usage.held_bytes == 2 * one
            waits.turn_away(Busy(TARGET, "elsewhere", 0.5), office.loop.time())
            assert office.usage.held_bytes == one
            office.go.set()
            await office.until_ended("runs")
            assert office.usage.held_bytes == 0
        assert office.outcomes == {"runs": "ok", "waits": "busy"}

    asyncio.run(main())


def test_a_call_that_cannot_be_run_when_its_turn_comes_ends_and_the_next_one_runs(monkeypatch, caplog):
    async def main():
        async with opened() as office:
            only = limit(1)
            office.call("first", only)
            await begins(office)
            broken, last = office.call("broken", only), office.call("last", only)
            run = office.runner.run

            def run_others(running, frame):
                if running.sink is broken:
                    raise RuntimeError("can't start new thread")
                run(running, frame)

            monkeypatch.setattr(office.runner, "run", run_others)
            office.go.set()
            await office.until_ended("first", "broken", "last")
            assert last.responder.phase is Phase.DONE
        assert office.outcomes == {"first": "ok", "broken": "internal", "last": "ok"}
        assert office.sent["broken"] == ["internal"]

    asyncio.run(main())
    assert "could not be served" in caplog.text


def test_a_call_needs_all_its_turns_and_gives_all_back():
    async def main():
        async with opened() as office:
            mine, yours, shared = limit(1), limit(1), limit(1)
            first = office.call("first", mine, shared)
            await begins(office)
            second, third = office.call("second", yours, shared), office.call("third", mine, shared)
            assert [shared.position(call) for call in (first, second, third)] == [0, 1, 0]
            assert mine.position(third) == 1
            second.act(second.responder.refuse(Busy(TARGET, "enough"), office.loop.time()))
            assert office.open == {"first", "third"}
            office.go.set()
            await office.until_ended("first", "third")
            # Nobody has kept a place.
            assert mine.enter(ANNA, "a")
            assert yours.enter(ANNA, "b")
            assert shared.enter(ANNA, "c")
        assert office.outcomes == {"first": "ok", "second": "busy", "third": "ok"}

    asyncio.run(main())


@pytest.mark.parametrize("limited", [True, False])
def test_only_a_call_whose_code_has_not_begun_is_turned_away(limited):
    async def main():
        async with opened() as office:
            admissions = [limit(2)] if limited else []
            running = [office.call(name, *admissions) for name in ("a", "b")]
            for _ in running:
                await begins(office)
            waiting = office.call("c", *admissions)  # for its turn, or for one of the two threads
            for call in [*running, waiting]:
                call.turn_away(Busy(TARGET, "elsewhere", 0.5), office.loop.time())
            assert office.open == {"a", "b"}
            assert office.sent["c"] == ["busy"]
        assert office.outcomes == {"a": "ok", "b": "ok", "c": "busy"}
        assert not office.begun.acquire(blocking=False)

    asyncio.run(main())


def test_a_method_that_tells_its_progress_at_each_step_keeps_nobody_busy(monkeypatch):
    async def main():
        async with opened() as office:
            told = []
            progress = ServedCall._progress
            monkeypatch.setattr(ServedCall, "_progress", lambda *args: (told.append(args[1]), progress(*args)))
            office.call("steps", steps=20_000)
            office.go.set()
            await office.until_ended("steps")
            assert 1 <= len(told) < 2000

    asyncio.run(main())


async def until_asked(office: Office) -> None:
    async with asyncio.timeout(60):
        await office.asked.wait()


def no_memory(value: object) -> object:
    raise MemoryError


@pytest.mark.parametrize("fails", [no_memory, lambda value: sys.exit(1)])
def test_a_value_that_cannot_be_kept_once_it_was_approved_ends_its_call(fails):
    async def main():
        async with opened() as office:
            office.how = {"keep": fails, "approve": True}
            call = office.call("kept")
            office.go.set()
            await until_asked(office)
            call.let_go()
            await office.until_ended("kept")
        assert office.outcomes == {"kept": "internal"}

    asyncio.run(main())


def test_a_value_is_kept_only_when_its_owner_has_seen_it_if_he_asks_while_it_is_made():
    kept = []

    async def main():
        async with opened() as office:
            office.how = {"keep": lambda value: kept.append(value) or "its name"}
            call = office.call("kept", data=bytes(1000))
            await begins(office)
            call.approve_from_now()
            office.go.set()
            await until_asked(office)
            assert wire.decode(wire.joined(call.held.parts)) == "waited"
            assert (kept, call.shown) == ([], None)
            assert office.usage.held_bytes == call.held.size  # and no arguments, for as long as he takes
            call.let_go()
            await office.until_ended("kept")
        assert (kept, office.outcomes) == (["waited"], {"kept": "ok"})

    asyncio.run(main())


def test_a_value_that_was_kept_before_its_owner_wanted_to_see_it_does_not_go():
    async def main():
        async with opened() as office:
            keeps, go_on = threading.Semaphore(0), threading.Event()

            def keep(value):
                keeps.release()
                go_on.wait(60)
                return "its name"

            office.how = {"keep": keep}
            call = office.call("kept")
            office.go.set()
            assert await asyncio.to_thread(keeps.acquire, timeout=60)
            call.approve_from_now()
            go_on.set()
            await office.until_ended("kept")
        assert (office.outcomes, office.sent["kept"][-1]) == ({"kept": "denied"}, "denied")

    asyncio.run(main())


def test_what_waits_for_a_thread_when_its_owner_asks_is_held_though_it_keeps_a_rule_without_approval():
    rule = Rule("awi/*", conditions=(Condition("steps", 0, 10),))

    async def main():
        async with opened() as office:
            for name in ("first", "second"):  # as many as there are threads
                office.call(name)
                await begins(office)
            office.how = {"ration": Quotas().enter([rule], ANNA, TARGET, 0.0)}
            call = office.call("waits")
            call.approve_from_now()
            office.go.set()
            await until_asked(office)
            assert office.sent.get("waits", []).count("RESULT") == 0
            # It had not begun, so what it was given is shown.
            assert call.shown == {}
            call.let_go()
            await office.until_ended("waits")
        assert office.outcomes["waits"] == "ok"

    asyncio.run(main())


def test_a_call_for_which_its_rules_have_no_room_is_told_so_at_once_and_its_owner_is_not_asked():
    limited = Rule("awi/*", conditions=(Condition("steps", 0, 10),), calls_per_hour=1)
    held = Rule("awi/*", conditions=(Condition("steps", 20, 30),), approve=True)
    quotas = Quotas()

    async def main():
        async with opened() as office:
            office.go.set()
            now = office.loop.time()
            rations = [quotas.enter([limited, held], ANNA, TARGET, now) for _ in range(2)]
            for name, ration in zip(("first", "second"), rations, strict=True):
                office.how = {"ration": ration, "approve": True}
                office.call(name)
                await office.until_ended(name)
            assert not office.asked.is_set()
        assert office.outcomes == {"first": "ok", "second": "busy"}

    asyncio.run(main())
