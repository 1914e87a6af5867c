"""An interrupt reaches the call it is meant for, once, between two steps, and never another."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest

from landbridge.backend.interruption import Interrupted, Interruption


def stop() -> None:
    """Nothing more than to be interrupted."""


@pytest.fixture
def interruption():
    before = signal.getsignal(signal.SIGINT)
    threads = set(threading.enumerate())
    yield Interruption()
    for thread in set(threading.enumerate()) - threads:
        thread.join()
    signal.signal(signal.SIGINT, before)


def from_elsewhere(function, *args) -> None:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def test_it_stops_a_loop_and_what_waits(interruption):
    for wait in (time.sleep, threading.Event().wait):
        timer = threading.Timer(0.01, interruption.request, (1,))
        timer.start()
        with pytest.raises(Interrupted), interruption.during(1, stop):
            wait(1000)
        timer.join()
        interruption.request(0)


def test_what_was_requested_before_stops_it_at_once(interruption):
    from_elsewhere(interruption.request, 2)
    began = False
    with pytest.raises(Interrupted), interruption.during(2, stop):
        began = True
    assert not began


def test_it_does_not_touch_another_call_or_what_comes_after(interruption):
    with interruption.during(1, stop):
        from_elsewhere(interruption.request, 2)
        from_elsewhere(interruption.request, 0)
    from_elsewhere(interruption.request, 1)
    with interruption.during(3, stop):
        pass


def test_it_comes_once(interruption):
    count = []
    with interruption.during(1, lambda: count.append(1), raises=False):
        from_elsewhere(interruption.request, 1)
        from_elsewhere(interruption.request, 1)
    assert count == [1]


def test_it_is_put_off_while_it_would_break_something(interruption):
    steps = []

    def run() -> None:
        with interruption.during(1, stop):
            with interruption.held(), interruption.held():
                from_elsewhere(interruption.request, 1)
                steps.append("held")
            steps.append("after")

    with pytest.raises(Interrupted):
        run()
    assert steps == ["held"]


def test_it_is_put_off_also_when_the_held_part_fails(interruption):
    def run() -> None:
        with interruption.during(1, stop), interruption.held():
            from_elsewhere(interruption.request, 1)
            raise ValueError

    with pytest.raises(Interrupted):
        run()


def test_nothing_happens_once_the_outcome_is_out(interruption):
    with interruption.during(1, stop), interruption.held():
        from_elsewhere(interruption.request, 1)
        interruption.disarm()


def test_other_threads_are_not_held_up(interruption):
    def send() -> None:
        with interruption.held():
            sent.append(1)

    sent: list[int] = []
    with interruption.during(1, stop):
        from_elsewhere(send)
    assert sent == [1]


def loop_over_a_condition(begun: threading.Event, done: list[str]) -> None:
    try:
        begun.set()
        for i in range(10**12):
            if i % 10**9 == 10**9 - 1:
                done.append("never")
    finally:
        done.append("tidied up")


def loop_in_steps(begun: threading.Event, done: list[str]):
    try:
        begun.set()
        for i in range(10**12):
            if i % 10**9 == 10**9 - 1:
                yield i
    finally:
        done.append("tidied up")


def loop_without_an_end(begun: threading.Event, done: list[str]) -> None:
    try:
        begun.set()
        while True:
            pass
    finally:
        done.append("tidied up")


def loop_in_one_line(begun: threading.Event, done: list[str]) -> None:
    try:
        begun.set()
        while not done: pass  # fmt: skip  # noqa: E701
    finally:
        done.append("tidied up")


def loop_in_a_comprehension(begun: threading.Event, done: list[str]) -> None:
    try:
        begun.set()
        sum(1 for i in range(10**12) if i % 7 == 8)
    finally:
        done.append("tidied up")


@pytest.mark.parametrize(
    "run", [loop_over_a_condition, loop_in_steps, loop_without_an_end, loop_in_one_line, loop_in_a_comprehension]
)
def test_whatever_the_loop_what_is_to_tidy_up_does(interruption, run):
    for number in range(1, 21):
        done: list[str] = []
        begun = threading.Event()

        def request(begun: threading.Event = begun, number: int = number) -> None:
            begun.wait(60)
            interruption.request(number)

        thread = threading.Thread(target=request)
        thread.start()
        with pytest.raises(Interrupted), interruption.during(number, stop):
            list(run(begun, done) or ())
        thread.join()
        assert done == ["tidied up"]
    assert sys.gettrace() is None


class Going:
    """An object during whose end the interrupt comes, as it does to a file that has to be written."""

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption

    def __del__(self) -> None:
        from_elsewhere(self.interruption.request, 1)
        for _ in range(100):
            pass


def test_what_is_lost_where_an_object_goes_comes_again(interruption, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: None)  # that of pytest keeps the exception

    def run() -> None:
        Going(interruption)
        while True:
            pass

    with pytest.raises(Interrupted), interruption.during(1, stop):
        run()


def test_it_does_not_break_into_what_tidies_up(interruption):
    tidied = []

    def run() -> None:
        try:
            interruption.request(1)
            while True:
                pass
        finally:
            for step in range(10):
                time.sleep(0.01)
                tidied.append(step)

    with pytest.raises(Interrupted), interruption.during(1, stop):
        run()
    assert tidied == list(range(10))
