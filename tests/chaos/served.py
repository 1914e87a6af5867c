"""The module that is called in a storm. Each execution writes down its start and its end, so that they can be counted.

It is served as it is; the judge and the callers import it for what the right values are.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator

import landbridge as lb

sys.modules["numcodecs"] = None  # type: ignore[assignment]  # so that long values take the lane, as is counted

__all__ = [
    "add",
    "add_again",
    "add_async",
    "count",
    "count_async",
    "echo",
    "echo_async",
    "fail",
    "nap",
    "work",
    "work_async",
]

_STEP_S = 0.05
_JOURNAL = os.environ.get("CHAOS_JOURNAL", os.devnull)


def payload(token: str, number: int, size: int) -> bytes:
    """Return what item `number` of a stream holds: as good as random, and known to whoever knows the token."""
    seed = hashlib.blake2b(f"{token}/{number}".encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


@contextlib.contextmanager
def written_down(token: str) -> Iterator[None]:
    """Append a line when an execution starts and one when it ends; each is one write, which a kill cannot cut."""
    journal = os.open(_JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(journal, f"start {token} {os.getpid()} {time.monotonic():.6f}\n".encode())
        try:
            yield
        finally:
            os.write(journal, f"end {token} {os.getpid()} {time.monotonic():.6f}\n".encode())
    finally:
        os.close(journal)


def add(token: str, a: int, b: int) -> int:
    with written_down(token):
        return a + b


@lb.method(pure=True)
def add_again(token: str, a: int, b: int) -> int:
    with written_down(token):
        time.sleep(0.02)
        return a + b


async def add_async(token: str, a: int, b: int) -> int:
    with written_down(token):
        return a + b


def echo(token: str, data):
    with written_down(token):
        return data


async def echo_async(token: str, data):
    with written_down(token):
        return data


def count(token: str, items: int, size: int) -> Iterator[dict[str, object]]:
    with written_down(token):
        for number in range(items):
            yield {"number": number, "data": payload(token, number, size)}


async def count_async(token: str, items: int, size: int) -> AsyncIterator[dict[str, object]]:
    with written_down(token):
        for number in range(items):
            yield {"number": number, "data": payload(token, number, size)}
            await asyncio.sleep(0)


def work(token: str, seconds: float) -> str:
    with written_down(token):
        for _ in lb.track(range(round(seconds / _STEP_S))):
            time.sleep(_STEP_S)
        return token


async def work_async(token: str, seconds: float) -> str:
    with written_down(token):
        for _ in lb.track(range(round(seconds / _STEP_S))):
            await asyncio.sleep(_STEP_S)
        return token


def fail(token: str) -> None:
    with written_down(token):
        raise KeyError(token)


def nap(token: str, seconds: float) -> str:
    with written_down(token):
        time.sleep(seconds)
        return token


def crunch(token: str, seconds: float) -> str:
    with written_down(token):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(1000))
            time.sleep(0.01)
        return token


if os.environ.get("CHAOS_WORKERS"):
    crunch = lb.method(process=True)(crunch)
    __all__ += ["crunch"]
