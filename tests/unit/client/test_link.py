"""What becomes of a call whose attempts fail, are tried again, or are cancelled: a link that has no broker yet."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from landbridge.client.access import Access
from landbridge.client.link import Link
from landbridge.client.observers import Plain
from landbridge.client.pace import FEWEST, UNANSWERED
from landbridge.errors import Busy, CallCancelled, CallLost, CallTimeout, ModuleOffline
from landbridge.names import parse_address
from landbridge.protocol import Ended, Forget, Waits

TARGET = parse_address("awi/m.f")
BUSY = Busy("awi/m.f", "full", 0.05)


class Told(Plain):
    """Whom a call tells what happens to it."""

    def __init__(self) -> None:
        self.ends: list[object] = []
        self.places: list[int] = []

    def waits(self, place: int) -> None:
        self.places.append(place)

    def ended(self, frame, error) -> None:
        self.ends.append(error if error is not None else frame)


@asynccontextmanager
async def link():
    link = Link(Access((), "awi", "anna", lambda: "", lambda nonce: nonce))
    link._loop = asyncio.get_running_loop()
    yield link


def ends(link: Link, request, error) -> None:
    """Let the attempt that is under way end as its machine would."""
    link._act(request.attempt, [Ended(None, error), Forget()])


def run(scenario):
    async def whole():
        async with link() as open_link:
            await scenario(open_link)

    asyncio.run(whole())


def start(link: Link, told: Told, timeout_s: float | None = None):
    return link.start(TARGET, [b"x"], 1, told, timeout_s, idempotent=True)


def test_a_call_that_was_cancelled_is_not_tried_again_when_it_turns_out_that_the_backend_was_busy():
    async def scenario(link):
        request = start(link, told := Told())
        link.cancel(request)
        ends(link, request, BUSY)
        assert [(type(end), end.state) for end in told.ends] == [(CallCancelled, "stopped")]
        assert not link._waiting

    run(scenario)


@pytest.mark.parametrize("error", [CallLost("lost"), ModuleOffline("awi/m")])
def test_a_call_that_was_cancelled_and_then_lost_is_not_tried_again(error):
    async def scenario(link):
        request = start(link, told := Told())
        link.cancel(request)
        ends(link, request, error)
        assert len(told.ends) == 1
        assert not link._waiting

    run(scenario)


@pytest.mark.parametrize(("error", "state"), [(BUSY, "stopped"), (CallLost("lost"), "stopping")])
def test_what_may_run_where_it_was_lost_is_not_called_stopped(error, state):
    async def scenario(link):
        request = start(link, told := Told())
        ends(link, request, error)
        assert not told.ends
        assert request in link._waiting
        link.cancel(request)
        assert [end.state for end in told.ends] == [state]
        assert request.parts == ()
        link._let_time_pass(link._loop.time() + 100)
        assert len(told.ends) == 1
        assert not link._calls

    run(scenario)


def test_a_call_that_is_tried_again_stands_in_no_queue():
    async def scenario(link):
        request = start(link, told := Told())
        link._act(request.attempt, [Waits(5)])
        ends(link, request, CallLost("lost"))
        assert told.places == [5, 0]

    run(scenario)


def test_a_time_limit_is_told_as_it_was_given_however_often_it_was_tried():
    async def scenario(link):
        request = start(link, told := Told(), timeout_s=10.0)
        ends(link, request, CallLost("lost"))
        link._let_time_pass(link._loop.time() + 1)
        assert request.attempt.caller.timeout_s < 10.0
        link._act(request.attempt, request.attempt.caller.tick(link._loop.time() + 20))
        (error,) = told.ends
        assert isinstance(error, CallTimeout)
        assert error.timeout_s == 10.0
        assert "within 10 s" in str(error)

    run(scenario)


def test_a_call_ends_once_also_when_its_last_message_cannot_be_sent():
    async def scenario(link):
        request = start(link, told := Told())
        attempt = request.attempt
        link._drop(attempt, ModuleOffline("awi/m"))
        link._act(attempt, [Ended(memoryview(b"value"), None), Forget()])
        assert len(told.ends) == 1

    run(scenario)


def test_a_place_is_kept_by_those_who_were_sent_and_given_up_by_those_who_ended():
    async def scenario(link):
        told = [Told() for _ in range(UNANSWERED + 2)]
        requests = [start(link, each) for each in told]
        for request in requests:
            link._may_go(request.attempt)
        *_, first, second = (request.attempt for request in requests)
        assert not link._may_go(first)  # as when the line breaks and comes back
        for request in requests[: UNANSWERED - FEWEST + 1]:
            ends(link, request, ModuleOffline("awi/m"))
        assert (first.goes, second.goes) == (True, False)
        link._was_answered(first, link._loop.time())
        assert second.goes
        assert len(first.pace._out) == FEWEST

    run(scenario)
