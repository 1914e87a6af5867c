"""Functions as arguments, and what a method prints: called and shown at the caller, and ended with the call."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

import landbridge as lb

SOURCE = '''
import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

import landbridge as lb

__all__ = ["minimize", "minimize_soon", "steps", "several", "any_value", "keep", "use_kept", "add", "caught", "many",
           "speak", "chatter", "ask_for_ever", "in_threads", "is_same", "counted", "bounce", "bounce_soon",
           "escape", "at_once"]
KEPT = []
COUNTS = []


@lb.method
def minimize(f: Callable[[float], float], n: int = 5) -> float:
    """Smallest value of a function at 0, 1, 2 and so on."""
    return min(f(float(i)) for i in range(n))

@lb.method
async def minimize_soon(f: Callable[[float], float], n: int = 5) -> float:
    return min(await asyncio.gather(*(f(float(i)) for i in range(n))))

@lb.method(process=True)
def minimize_apart(f: Callable[[float], float], n: int = 5) -> float:
    return min(f(float(i)) for i in range(n))

@lb.method(process=True)
async def minimize_soon_apart(f: Callable[[float], float], n: int = 5) -> float:
    return min([await f(float(i)) for i in range(n)])

def steps(f: Callable[[int], int], n: int):
    for i in range(n):
        yield f(i)

def several(functions: list):
    return [function() for function in functions]

def any_value(value):
    return callable(value)

def is_same(f: Callable, g: Callable) -> bool:
    return f is g

def keep(f: Callable) -> int:
    KEPT.append(f)
    return f()

def use_kept() -> str:
    try:
        return f"gave {KEPT.pop()()!r}"
    except RuntimeError as error:
        return str(error)

@lb.method(process=True)
def keep_apart(f: Callable) -> int:
    KEPT.append(f)
    return f()

@lb.method(process=True)
def use_kept_apart() -> str:
    return use_kept()

def add(a: float, b: float) -> float:
    return a + b

def caught(f: Callable) -> list:
    """What is raised here when the function raises."""
    try:
        f()
    except Exception as error:
        kinds = [cls.__name__ for cls in type(error).__mro__]
        return [kinds, str(error).partition(chr(10))[0]]
    return []

def many(f: Callable, n: int) -> int:
    return sum(f(np.arange(i % 7)) for i in range(n))

def bounce(f: Callable, n: int):
    return f(np.zeros(n))

async def bounce_soon(f: Callable, n: int):
    return await f(np.zeros(n))

@lb.method(process=True)
def bounce_apart(f: Callable, n: int):
    return f(np.zeros(n))

@lb.method(process=True)
def steps_apart(f: Callable[[int], int], n: int):
    for i in range(n):
        yield f(i)

async def at_once(f: Callable, n: int) -> int:
    return len(await asyncio.gather(*(f(i) for i in range(n))))

def escape() -> None:
    print(chr(27) + "[31mred" + chr(7))

def in_threads(f: Callable[[int], int], n: int) -> list:
    values = [None] * n
    def work(i):
        values[i] = f(i)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return values

def ask_for_ever(f: Callable) -> None:
    COUNTS.append("began")
    try:
        while True:
            f()
    finally:
        COUNTS.append("ended")

@lb.method(process=True)
def ask_for_ever_apart(f: Callable) -> None:
    while True:
        f()

def counted() -> list:
    return COUNTS

def speak(n: int) -> int:
    for i in range(n):
        print("line", i)
        print("warned", i, file=sys.stderr)
        logging.getLogger("waves").warning("logged %s", i)
    return n

@lb.method(process=True)
def speak_apart(n: int) -> int:
    return speak(n)

@lb.method
async def speak_soon(n: int) -> int:
    return speak(n)

def chatter(n: int) -> int:
    for i in range(n):
        print("line", i)
    return n

@lb.method
def talk(f: Callable) -> int:
    print("before")
    f()
    print("after")
    return 1
'''

STYLES = ["minimize", "minimize_soon", "minimize_apart", "minimize_soon_apart"]


@pytest.fixture(scope="module")
def work(network, net):
    network.serve(SOURCE, "awi/work")
    return net["awi/work"]


def parabola(x: float) -> float:
    return (x - 3) ** 2 + 1


@pytest.mark.parametrize("method", STYLES)
def test_a_method_calls_a_function_of_its_caller(work, method):
    asked = []

    def f(x: float) -> float:
        asked.append((x, threading.get_ident()))
        return parabola(x)

    assert getattr(work, method)(f, 10) == 1.0
    assert sorted(x for x, _ in asked) == [float(i) for i in range(10)]
    assert threading.get_ident() not in {thread for _, thread in asked}  # this one waits for the method


def test_functions_of_asyncio_are_called_in_its_loop_and_others_in_threads(work):
    async def main():
        loop = asyncio.get_running_loop()

        async def awaited(x: float) -> float:
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(0)
            return parabola(x)

        async with lb.AsyncNetwork() as net:
            remote = net["awi/work"]
            for method in STYLES:
                assert await getattr(remote, method)(awaited, 5) == 1.0
                assert await getattr(remote, method)(parabola, n=5) == 1.0
            return [item async for item in remote.steps(lambda i: i * 10, 3)]

    assert asyncio.run(main()) == [0, 10, 20]


def test_signature_and_docstring_tell_of_the_function(work):
    assert "Callable" in str(work.minimize.__signature__)
    assert "Smallest value of a function" in work.minimize.__doc__


@pytest.mark.parametrize("method", ["steps", "steps_apart"])
def test_a_stream_calls_functions_as_it_goes(work, method):
    asked = []
    stream = getattr(work, method)(lambda i: asked.append(i) or i * 2, 100)
    assert [next(stream) for _ in range(3)] == [0, 2, 4]
    assert list(stream) == [i * 2 for i in range(3, 100)]
    assert asked == list(range(100))


def test_functions_are_called_from_threads_of_the_method(work):
    assert work.in_threads(lambda i: i * i, 20) == [i * i for i in range(20)]


def test_a_function_given_twice_is_one_function_there(work):
    assert work.is_same(parabola, parabola)
    assert not work.is_same(parabola, lambda: 0)


def test_arrays_travel_to_functions(work):
    assert work.many(lambda array: int(array.sum()), 50) == sum(sum(range(i % 7)) for i in range(50))


@pytest.mark.parametrize("method", ["bounce", "bounce_soon", "bounce_apart"])
def test_large_arrays_travel_to_functions_and_back(work, method):
    assert np.array_equal(getattr(work, method)(lambda array: array + 1, 500_000), np.ones(500_000))


def test_so_many_questions_may_be_open_at_a_time(work):
    assert work.at_once(lambda i: i, 64) == 64
    all_are_asked = threading.Event()
    try:
        with pytest.raises(RuntimeError, match="64 questions to its caller are open"):
            work.at_once(lambda i: all_are_asked.wait(60), 65)
    finally:
        all_are_asked.set()


class NoSuchStation(LookupError):
    pass


def broken():
    raise NoSuchStation("DWD 10147")


@pytest.mark.parametrize("method", STYLES)
def test_what_a_function_raises_arrives_at_the_method_and_back_as_the_builtin_that_it_is(work, method):
    def f(x: float) -> float:
        raise KeyError(f"no value at {x}")

    with pytest.raises(KeyError) as caught:
        getattr(work, method)(f)
    assert isinstance(caught.value, lb.RemoteError)
    assert "no value at 0.0" in str(caught.value)


def test_a_method_can_catch_what_a_function_raises(work):
    kinds, text = work.caught(broken)
    assert "LookupError" in kinds
    assert text == "NoSuchStation: DWD 10147"
    assert work.caught(lambda: 1 / 0)[0].count("ZeroDivisionError") == 1


def test_a_function_that_wants_to_end_its_process_ends_neither(work):
    def leave():
        raise SystemExit(3)

    assert work.caught(leave)[1] == "SystemExit: 3"

    async def main():
        async with lb.AsyncNetwork() as net:

            async def leave_soon():
                raise SystemExit(3)

            async def cancelled():
                raise asyncio.CancelledError

            remote = net["awi/work"]
            assert (await remote.caught(leave_soon))[1] == "SystemExit: 3"
            assert (await remote.caught(cancelled))[1] == "CancelledError"
            return await remote.add(1.0, 2.0)

    assert asyncio.run(main()) == 3.0


def test_a_function_that_gives_what_cannot_travel_is_told_to_the_method(work):
    kinds, text = work.caught(lambda: object())
    assert "CannotTravel" in kinds
    assert "cannot travel" in text
    assert "TooLarge" in work.caught(lambda: bytes(9_000_000))[0]


@pytest.mark.parametrize("apart", ["", "_apart"])
def test_a_function_cannot_be_called_once_its_call_has_ended(work, apart):
    assert getattr(work, f"keep{apart}")(lambda: 42) == 42
    said = getattr(work, f"use_kept{apart}").start().result(timeout=30)
    assert "has ended" in said


@pytest.mark.parametrize("method", ["ask_for_ever", "ask_for_ever_apart"])
def test_cancelling_ends_a_method_that_waits_for_a_function(work, method):
    asked, go_on = threading.Event(), threading.Event()

    def wait():
        asked.set()
        go_on.wait(60)

    call = getattr(work, method).start(wait)
    assert asked.wait(30)
    try:
        assert call.cancel() == "stopped"
    finally:
        go_on.set()
    if method == "ask_for_ever":
        assert work.counted()[-2:] == ["began", "ended"]


def test_sixty_four_functions_are_taken_and_not_one_more(work):
    functions = [lambda i=i: i for i in range(65)]
    assert work.several(functions[:64]) == list(range(64))
    with pytest.raises(lb.CannotTravel, match="64"):
        work.several(functions)
    assert work.several([functions[7]] * 100) == [7] * 100  # the same one


def test_a_function_may_call_remote_methods_itself_also_with_functions(work):
    def f(x: float) -> float:
        return work.minimize(lambda y: work.add(x, y), 3)

    assert work.minimize(f, 3) == 0.0


@pytest.mark.parametrize("arguments", [(lambda: 1.0, 2.0), (1.0, abs)])
def test_a_function_where_a_number_is_expected_is_refused_and_nothing_runs(work, arguments):
    with pytest.raises(lb.InvalidArguments) as caught:
        work.add(*arguments)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].where in ("a", "b")


def test_a_number_where_a_function_is_expected_is_refused(work):
    with pytest.raises(lb.InvalidArguments) as caught:
        work.minimize(3.0)
    assert caught.value.problems[0].where == "f"


def test_where_any_value_may_come_a_function_may_too(work):
    assert work.any_value(parabola) is True
    assert work.any_value(3) is False


# What a method prints


@pytest.mark.parametrize("method", ["speak", "speak_apart", "speak_soon"])
def test_what_a_method_prints_comes_out_here_in_order_each_where_it_belongs(work, capsys, method):
    assert getattr(work, method).options(logs=True)(3) == 3
    said = capsys.readouterr()
    assert said.out == "line 0\nline 1\nline 2\n"
    assert said.err.splitlines() == [line for i in range(3) for line in (f"warned {i}", f"WARNING waves: logged {i}")]


def test_nothing_comes_out_unless_it_was_asked_for(work, capsys):
    call = work.speak.start(3)
    assert call.result() == 3
    assert list(call.log_lines) == []
    assert capsys.readouterr() == ("", "")


def test_lines_come_out_too_where_events_are_looked_at(work, capsys):
    call = work.speak.options(logs=True).start(2)
    assert list(call.events()) == []
    assert capsys.readouterr().out == "line 0\nline 1\n"
    assert call.result() == 2


def test_lines_cannot_do_anything_to_a_terminal(work, capsys):
    work.escape.options(logs=True)()
    assert capsys.readouterr().out == "\ufffd[31mred\ufffd\n"


def test_the_lines_are_kept_with_the_call_by_stream(work):
    call = work.speak.options(logs=True).start(1)
    call.result()
    assert list(call.log_lines) == [
        ("stdout", "line 0\n"),
        ("stderr", "warned 0\n"),
        ("log", "WARNING waves: logged 0\n"),
    ]


def test_lines_come_while_the_method_still_runs(work):
    call = None
    seen = []

    def f():
        until(lambda: call is not None and ("stdout", "before\n") in call.log_lines)
        seen.extend(call.log_lines)

    call = work.talk.options(logs=True).start(f)
    assert call.result(timeout=60) == 1
    assert seen == [("stdout", "before\n")]
    assert list(call.log_lines) == [("stdout", "before\n"), ("stdout", "after\n")]


def test_a_hundred_thousand_lines_do_no_harm(work, capsys):
    call = work.chatter.options(logs=True).start(100_000)
    assert call.result(timeout=100) == 100_000
    lines = capsys.readouterr().out.splitlines()
    assert lines[:100] == [f"line {i}" for i in range(100)]
    assert len(lines) < 10_000
    assert any("lines not shown" in text for stream, text in call.log_lines if stream == "log")
    assert work.add(1.0, 2.0) == 3.0


def test_with_asyncio_too(work, capsys):
    async def main():
        async with lb.AsyncNetwork() as net:
            return await net["awi/work"].speak.options(logs=True)(1)

    assert asyncio.run(main()) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("line 0\n", "warned 0\nWARNING waves: logged 0\n")


def until(true, timeout_s: float = 30) -> None:
    """Wait until something that nobody tells of is so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
