"""Threads serve callers in turns; what waits has a place, and can be withdrawn."""

from __future__ import annotations

import threading

import pytest

from landbridge.backend.threads import Pool


@pytest.fixture
def pool():
    pool = Pool(1)
    yield pool
    pool.close()


@pytest.fixture
def held(pool):
    """Keep the only thread busy until the event that this gives is set."""
    go, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go.wait(60)

    pool.submit(hold, "somebody")
    assert begun.wait(60)
    yield go
    go.set()


def append(done: list[str], name: str, end: threading.Event, last: int):
    def task() -> None:
        done.append(name)
        if len(done) == last:
            end.set()

    return task


def test_callers_take_turns(pool, held):
    done: list[str] = []
    end = threading.Event()
    for name in ("anna 1", "anna 2", "anna 3", "ben 1", "cleo 1"):
        pool.submit(append(done, name, end, 5), name.split()[0])
    held.set()
    assert end.wait(60)
    assert done == ["anna 1", "ben 1", "cleo 1", "anna 2", "anna 3"]


def test_a_withdrawn_task_never_runs_and_the_others_do(pool, held):
    done: list[str] = []
    end = threading.Event()
    tasks = {name: append(done, name, end, 3) for name in ("a", "b", "c", "d")}
    for name, task in tasks.items():
        pool.submit(task, name)
    assert [pool.position(task) for task in tasks.values()] == [1, 2, 3, 4]
    assert pool.withdraw(tasks["b"])
    assert not pool.withdraw(tasks["b"])
    assert [pool.position(task) for task in tasks.values()] == [1, 0, 2, 3]
    held.set()
    assert end.wait(60)
    assert done == ["a", "c", "d"]
    again = threading.Event()
    pool.submit(again.set, "a")
    assert again.wait(60)  # the thread that found nothing where "b" was goes on
    assert not pool.withdraw(tasks["a"])


def test_a_thread_that_only_waits_lends_its_place(pool):
    inside, other = threading.Event(), threading.Event()

    def wait() -> None:
        with pool.lent():
            inside.set()
            other.wait(60)

    pool.submit(wait)
    assert inside.wait(60)
    pool.submit(other.set)
    assert other.wait(60)
