"""Turns of a loop that are borrowed: one thread at a time, nobody kept out, nothing put aside forgotten."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextvars import ContextVar

import pytest

from landbridge.backend.threads import Mailbox
from landbridge.broker import SharedLoop

THREADS, TIMES = 4, 3000


@pytest.fixture
def loop():
    """Return a shared loop that runs in a thread of its own."""
    loop = SharedLoop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    assert not thread.is_alive()
    loop.close()


def in_threads(work, count=THREADS) -> None:
    failures = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert failures == []


def asked(loop, what):
    """Return what a function gives that the loop's own thread calls."""

    async def ask():
        return what()

    return asyncio.run_coroutine_threadsafe(ask(), loop).result(60)


def test_turns_exclude_each_other_and_the_loops_own(loop):
    inside, most, turns = 0, 0, 0

    def turn() -> None:
        nonlocal inside, most, turns
        inside += 1
        most = max(most, inside)
        turns += 1
        for _ in range(20):  # so that threads are switched here, too
            pass
        inside -= 1

    def borrow(number: int) -> None:
        for count in range(TIMES):
            loop.borrow()
            try:
                turn()
            finally:
                loop.give_back()
            if count % 10 == 0:
                loop.call_soon_threadsafe(turn)

    in_threads(borrow)
    assert asked(loop, lambda: (inside, most, turns)) == (0, 1, THREADS * (TIMES + TIMES // 10))


def test_the_loop_has_its_turn_however_often_others_borrow(loop):
    end = threading.Event()

    def borrow(_: int) -> None:
        while not end.is_set():
            loop.borrow()
            loop.give_back()

    async def timers() -> int:
        for _ in range(20):
            await asyncio.sleep(0.001)
        return 20

    def look(number: int) -> None:
        if number:
            borrow(number)
        else:
            try:
                assert asyncio.run_coroutine_threadsafe(timers(), loop).result(60) == 20
            finally:
                end.set()

    in_threads(look)


def test_who_has_borrowed_it_may_do_what_callbacks_do(loop):
    ran: dict[str, int] = {}
    done = threading.Event()
    future: asyncio.Future[str] = asked(loop, loop.create_future)

    async def wait() -> str:
        ran["task"] = threading.get_ident()
        return await future

    def note(name: str) -> None:
        ran[name] = threading.get_ident()

    loop.borrow()
    try:
        assert asyncio.get_running_loop() is loop
        task = asyncio.create_task(wait())
        loop.call_later(0.001, note, "timer")
        loop.call_soon(note, "soon")
        loop.at_turn_end(lambda: note("end"))
        future.set_result("value")
        task.add_done_callback(lambda _: loop.call_later(0.01, done.set))
    finally:
        loop.give_back()
    assert ran["end"] == threading.get_ident()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert done.wait(60)
    own = asked(loop, threading.get_ident)
    assert ran == {"end": threading.get_ident(), "task": own, "timer": own, "soon": own}
    assert task.result() == "value"


def test_a_loop_that_runs_here_is_the_running_one_again_afterwards(loop):
    async def main() -> None:
        here = asyncio.get_running_loop()
        loop.borrow()
        assert asyncio.get_running_loop() is loop
        loop.give_back()
        assert asyncio.get_running_loop() is here
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_turn_is_not_free_while_somebody_has_it(loop):
    loop.borrow()
    assert not loop.borrow_if_free()
    loop.give_back()
    assert asked(loop, loop.borrow_if_free) is False


def test_what_fails_at_the_end_of_a_turn_is_told_and_keeps_nobody(loop):
    told: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

    def fail() -> None:
        raise ValueError("on purpose")

    loop.borrow()
    loop.at_turn_end(fail)
    loop.give_back()
    asked(loop, lambda: loop.at_turn_end(fail))
    assert asked(loop, lambda: 1) == 1
    assert [str(error) for error in told] == ["on purpose"] * 2


def test_what_a_borrower_closes_while_the_loop_waits_for_its_turn_is_no_longer_told_of(loop):
    here, there = socket.socketpair()
    here.setblocking(False)
    asked(loop, lambda: loop.add_reader(here, lambda: None))
    loop.borrow()
    there.send(b"x")  # the loop hears of it, and waits for its turn
    while not loop._turn._next.locked():
        time.sleep(0.001)
    loop.remove_reader(here)
    here.close()
    loop.give_back()
    there.close()
    assert asked(loop, lambda: 1) == 1


def test_what_a_borrower_begins_knows_nothing_of_him(loop):
    whose = ContextVar("whose", default="nobody's")
    told: list[str] = []

    async def task() -> None:
        told.append(whose.get())

    def note() -> None:
        told.append(whose.get())

    mailbox = asked(loop, lambda: Mailbox(loop))
    whose.set("mine")
    done = threading.Event()
    loop.borrow()
    asyncio.create_task(task()).add_done_callback(lambda _: done.set())
    loop.call_soon(note)
    loop.call_later(0.001, note)
    mailbox.post(note)
    loop.give_back()
    assert done.wait(60)
    mailbox.post(note)
    until = time.monotonic() + 60
    while len(told) < 5:
        assert time.monotonic() < until
        time.sleep(0.001)
    assert told == ["nobody's"] * 5


def test_nothing_that_is_posted_waits_for_the_next_post(loop):
    mailbox = asked(loop, lambda: Mailbox(loop))
    taken: list[tuple[int, int]] = []
    arrived = threading.Semaphore(0)

    def take_time() -> None:  # so that the loop has turns of its own, in which others cannot borrow one
        for _ in range(200):
            pass

    def take(number: int, turn: int) -> None:
        taken.append((number, turn))
        arrived.release()

    def post(number: int) -> None:
        for turn in range(TIMES):
            mailbox.post(take, number, turn)
            if turn % 7 == number:
                loop.call_soon_threadsafe(take_time)
            # Each waits now and then until all of his has been taken, without anybody who would push it on.
            if turn % 100 == 99:
                for _ in range(100):
                    assert arrived.acquire(timeout=60)

    in_threads(post)
    assert len(taken) == len(set(taken)) == THREADS * TIMES
    for number in range(THREADS):
        assert [turn for who, turn in taken if who == number] == list(range(TIMES))


def test_in_the_debug_mode_of_asyncio_nobody_borrows_a_turn(loop):
    mailbox, posted = asked(loop, lambda: Mailbox(loop)), threading.Event()
    loop.set_debug(True)
    assert not loop.borrow_if_free()
    mailbox.post(posted.set)
    assert posted.wait(60)
