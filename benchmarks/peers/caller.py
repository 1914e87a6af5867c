"""A caller of any of the systems: connects and measures what it is ordered to (see `../orders.py`).

All systems are measured by this same code, each in processes of their own and in environments of their own. An order
is answered with an outcome: the figure, or what went wrong and how many right answers had come before.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

# At the end of the path: the packages of the environment come first.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from orders import follow

IN_FLIGHT = 64
WARM_UP = 10


class Counted:
    """Checks answers and counts them, also when a later call fails."""

    def __init__(self) -> None:
        self.answers = 0

    def check(self, number: int, answer: int) -> None:
        """Take one answer to ``add(number, 2)``."""
        if answer != number + 2:
            raise ValueError(f"{number} + 2 was answered with {answer!r}")
        self.answers += 1


def outcome_of(measure: Callable[[Counted], float]) -> dict[str, Any]:
    """Measure, and return the figure or what went wrong."""
    counted = Counted()
    try:
        return {"value": measure(counted)}
    except Exception as error:  # a system under test may raise anything: it is reported, not judged, here
        return {"error": f"{type(error).__name__}: {error}", "answers": counted.answers}


def repeats(size: int) -> int:
    """How often an array of so many bytes is sent for one figure."""
    return min(50, max(1, 2 * 10**7 // size))


# Systems whose calls are awaited


@contextlib.asynccontextmanager
async def hypha(url: str, service: str) -> AsyncIterator[Any]:
    """Connect to a Hypha server; gives the service."""
    from hypha_rpc import connect_to_server

    server = await connect_to_server({"server_url": url})
    try:
        yield await server.get_service(service)
    finally:
        await server.disconnect()


@contextlib.asynccontextmanager
async def landbridge() -> AsyncIterator[Any]:
    """Connect to the local Landbridge network; gives the module."""
    import landbridge as lb

    async with lb.AsyncNetwork() as net:
        yield net.bench.work


async def awaited_latency(service: Any, counted: Counted, method: str, calls: int) -> float:
    """Median seconds of a call, one after the other."""
    call = getattr(service, method)
    times = []
    for number in range(WARM_UP + calls):
        begin = time.perf_counter()
        answer = await call(number, 2)
        times.append(time.perf_counter() - begin)
        counted.check(number, answer)
    return statistics.median(times[WARM_UP:])


async def awaited_rate(service: Any, counted: Counted, method: str, calls: int) -> float:
    """Calls per second with `IN_FLIGHT` calls under way."""
    call = getattr(service, method)
    counted.check(1, await call(1, 2))
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            counted.check(number, await call(number, 2))

    begin = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return calls / (time.perf_counter() - begin)


async def awaited_echo(service: Any, counted: Counted, size: int) -> float:
    """Median seconds of an array of float64 there and back."""
    array = new_array(size)
    counted.check(1, await service.add(1, 2))
    times = []
    for _ in range(repeats(size)):
        begin = time.perf_counter()
        answer = await service.echo(array)
        times.append(time.perf_counter() - begin)
        check_array(array, answer)
        del answer
    return statistics.median(times)


def awaiting(connect: Callable[..., Any], address: list[str], measure: Callable[..., Any]) -> Callable[..., Any]:
    """Return what answers an order by connecting and measuring in an event loop."""

    async def connected(counted: Counted, order: dict[str, Any]) -> float:
        async with connect(*address) as service:
            return await measure(service, counted, **order)

    return lambda **order: outcome_of(lambda counted: asyncio.run(connected(counted, order)))


# Systems whose calls block


class LandbridgeBlocking:
    """The local Landbridge network, by the blocking client."""

    def __init__(self) -> None:
        import landbridge as lb

        self._work = lb.connect().bench.work

    def for_thread(self) -> LandbridgeBlocking:
        """Return what one thread calls."""
        return self

    def add(self, a: int, b: int) -> int:
        """Call `add`."""
        return self._work.add(a, b)

    def echo(self, array: Any) -> Any:
        """Send an array there and back."""
        return self._work.echo(array)


class Pyro5:
    """A Pyro5 daemon. Its serializers know no arrays, so they travel as bytes, converted by hand."""

    def __init__(self, uri: str) -> None:
        import Pyro5.api

        Pyro5.config.SERIALIZER = "msgpack"  # the one that takes bytes as they are
        self._uri = uri
        self._proxy = Pyro5.api.Proxy(uri)
        self.add = self._proxy.add

    def for_thread(self) -> Pyro5:
        """Return what one thread calls: a proxy belongs to its thread."""
        return Pyro5(self._uri)

    def echo(self, array: Any) -> Any:
        """Send an array there and back."""
        import numpy as np

        return np.frombuffer(self._proxy.echo(array.tobytes()), array.dtype).reshape(array.shape)


class Dasf:
    """A DASF backend, by the module that DASF generates for its callers."""

    def __init__(self, folder: str) -> None:
        sys.path.append(folder)
        import bench_api

        self._api = bench_api
        self.add = bench_api.add

    def for_thread(self) -> Dasf:
        """Return what one thread calls."""
        return self

    def echo(self, array: Any) -> Any:
        """Send an array there and back, as the DataArray that DASF can carry."""
        import xarray as xr

        return self._api.echo(xr.DataArray(array)).values


def blocking_latency(system: Any, counted: Counted, method: str, calls: int) -> float:
    """Median seconds of a call, one after the other."""
    call = getattr(system, method)
    times = []
    for number in range(WARM_UP + calls):
        begin = time.perf_counter()
        answer = call(number, 2)
        times.append(time.perf_counter() - begin)
        counted.check(number, answer)
    return statistics.median(times[WARM_UP:])


def blocking_rate(system: Any, counted: Counted, method: str, calls: int) -> float:
    """Calls per second from `IN_FLIGHT` threads."""
    numbers: Iterator[int] = iter(range(calls))
    begin = threading.Barrier(IN_FLIGHT + 1)
    failures: list[Exception] = []

    def work() -> None:
        try:
            call = getattr(system.for_thread(), method)
            call(1, 2)
        except Exception as error:
            failures.append(error)
            begin.abort()
            return
        with contextlib.suppress(threading.BrokenBarrierError):
            begin.wait()
        try:
            for number in numbers:
                counted.check(number, call(number, 2))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(IN_FLIGHT)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return calls / (time.perf_counter() - began)


def blocking_echo(system: Any, counted: Counted, size: int) -> float:
    """Median seconds of an array of float64 there and back."""
    array = new_array(size)
    counted.check(1, system.add(1, 2))
    times = []
    for _ in range(repeats(size)):
        begin = time.perf_counter()
        answer = system.echo(array)
        times.append(time.perf_counter() - begin)
        check_array(array, answer)
        del answer
    return statistics.median(times)


def blocking(connect: Callable[..., Any], address: list[str], measure: Callable[..., Any]) -> Callable[..., Any]:
    """Return what answers an order by connecting and measuring in this thread."""
    return lambda **order: outcome_of(lambda counted: measure(connect(*address), counted, **order))


def new_array(size: int) -> Any:
    """Return an array of float64 of so many bytes."""
    import numpy as np

    return np.arange(size // 8, dtype=np.float64)


def check_array(sent: Any, answer: Any) -> None:
    """Refuse an answer that is not what was sent."""
    import numpy as np

    if answer.dtype != sent.dtype or not np.array_equal(answer, sent):
        raise ValueError("the array that came back is another")


AWAITED = {"latency": awaited_latency, "rate": awaited_rate, "echo": awaited_echo}
BLOCKING = {"latency": blocking_latency, "rate": blocking_rate, "echo": blocking_echo}
SYSTEMS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Callable[..., Any]]]] = {
    "hypha": (awaiting, hypha, AWAITED),
    "landbridge": (awaiting, landbridge, AWAITED),
    "landbridge-blocking": (blocking, LandbridgeBlocking, BLOCKING),
    "pyro5": (blocking, Pyro5, BLOCKING),
    "dasf": (blocking, Dasf, BLOCKING),
}


if __name__ == "__main__":
    answered_by, connect, measures = SYSTEMS[sys.argv[1]]
    follow({name: answered_by(connect, sys.argv[2:], measure) for name, measure in measures.items()})
