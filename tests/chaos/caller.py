"""A process of callers in a storm: makes the calls it was ordered, and writes down what became of each.

Run as ``python caller.py INDEX JSON``; on stdin it is told its next phase: ``storm``, ``calm``, ``end``. Each line it
writes is one write, so that whatever happened before it was killed is known.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import landbridge as lb
from chaos.orders import Order, orders, warm_up
from chaos.served import payload

MODULE = "awi/storm"
CONNECT_S = 15.0
HANG_S = 240.0
CALM_CALLS = 5


class Log:
    """What was called and what became of it, one line each."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def begun(self, order: Order) -> None:
        self._write({"token": order.token, "kind": order.kind, "method": order.method, "own_s": order.own_s,
                     "limit_s": order.limit_s, "begun": time.monotonic()})  # fmt: skip

    def ended(self, order: Order, outcome: str, detail: str = "") -> None:
        self._write({"token": order.token, "outcome": outcome, "detail": detail[:500], "ended": time.monotonic()})

    def _write(self, entry: dict[str, object]) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")


def arguments_of(order: Order) -> dict[str, object]:
    if "seed" in order.arguments:
        made = np.random.default_rng(order.arguments["seed"])
        return {"token": order.token, "data": made.integers(0, 256, order.arguments["size"], np.uint8)}
    return {"token": order.token, **order.arguments}


def verdict_on(order: Order, value: object) -> tuple[str, str]:
    """Return whether a value is the right one."""
    if order.kind in ("small", "again", "connect", "calm"):
        right = value == order.arguments["a"] + order.arguments["b"]
    elif order.kind == "large":
        right = isinstance(value, np.ndarray) and np.array_equal(value, arguments_of(order)["data"])
    else:
        right = value == order.token
    return ("value", "") if right else ("wrong", repr(value)[:200])


def verdict_on_item(order: Order, number: int, item: dict) -> bool:
    return item == {"number": number, "data": payload(order.token, number, order.arguments["size"])}


def verdict_on_stream(order: Order, taken: int) -> tuple[str, str]:
    if order.kind == "leave":
        return ("left", "") if taken == order.take else ("wrong", f"{taken} items came, then the end")
    whole = taken == order.arguments["items"]
    return ("value", "") if whole else ("wrong", f"{taken} of {order.arguments['items']} items came, then the end")


def verdict_on_error(order: Order, error: BaseException) -> tuple[str, str]:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, lb.RemoteError):
        right = order.kind == "fail" and isinstance(error, KeyError) and order.token in str(error)
        return ("raised" if right else "wrong"), text
    if isinstance(error, lb.LandbridgeError):
        return error.code, text
    return f"foreign {type(error).__name__}", text


def do_blocking(net: lb.Network, order: Order) -> tuple[str, str]:
    if order.kind == "connect":
        with lb.connect() as own:
            return verdict_on(order, own[MODULE].add(**arguments_of(order)))
    method = getattr(net.awi.storm, order.method)
    if order.limit_s is not None:
        method = method.options(timeout_s=order.limit_s)
    call = method.start(**arguments_of(order))
    if order.kind in ("stream", "leave"):
        taken = 0
        for item in call:
            if not verdict_on_item(order, taken, item):
                return "wrong", f"item {taken}: {item!r:.200}"
            taken += 1
            if order.after_s and taken % 7 == 0:
                time.sleep(order.after_s)
            if order.kind == "leave" and taken == order.take:
                break
        return verdict_on_stream(order, taken)
    if order.kind in ("cancel", "worker cancel"):
        time.sleep(order.after_s)
        state = call.cancel()
        if state == "finished":
            return verdict_on(order, call.result())
        return f"cancelled: {state}", ""
    if order.kind == "progress":
        for event in call.events():
            if not 0 <= event.done <= (event.total or 0):
                return "wrong", f"progress {event}"
    return verdict_on(order, call.result())


async def do_async(net: lb.AsyncNetwork, order: Order) -> tuple[str, str]:
    if order.kind == "connect":
        async with lb.AsyncNetwork() as own:
            return verdict_on(order, await own[MODULE].add(**arguments_of(order)))
    method = getattr(net.awi.storm, order.method)
    if order.limit_s is not None:
        method = method.options(timeout_s=order.limit_s)
    call = method.start(**arguments_of(order))
    if order.kind in ("stream", "leave"):
        taken = 0
        async for item in call:
            if not verdict_on_item(order, taken, item):
                return "wrong", f"item {taken}: {item!r:.200}"
            taken += 1
            if order.after_s and taken % 7 == 0:
                await asyncio.sleep(order.after_s)
            if order.kind == "leave" and taken == order.take:
                break
        return verdict_on_stream(order, taken)
    if order.kind in ("cancel", "worker cancel"):
        await asyncio.sleep(order.after_s)
        state = await call.cancel()
        if state == "finished":
            return verdict_on(order, await call)
        return f"cancelled: {state}", ""
    return verdict_on(order, await call)


class Callers:
    """The callers of one process: threads that share a connection, or tasks that do."""

    def __init__(self, index: int, settings: dict) -> None:
        self.index = index
        self.names = [f"{settings['name']}-{number}" for number in range(settings["callers"])]
        self.seed, self.large_bytes, self.pause_s = settings["seed"], settings["large_bytes"], settings["pause_s"]
        self.workers = settings["workers"]
        self.log = Log(settings["log"])
        self.phase = settings["phase"]
        self.connected = threading.Event()  # or failed to
        self.failed = False
        self.changed = threading.Condition()
        self.waiting = 0
        self.since: dict[str, float] = {}

    def go_on(self, phase: str) -> None:
        with self.changed:
            self.phase, self.waiting = phase, 0
            self.changed.notify_all()

    def wait_until_all_wait(self, timeout_s: float) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.waiting == len(self.names), timeout_s)

    def _wait_for_the_next(self, phase: str) -> None:
        with self.changed:
            if self.phase != phase:
                return
            self.waiting += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.phase != phase)

    def _of_phase(self, name: str, phase: str) -> Iterator[Order]:
        if phase == "warm":
            yield from warm_up(self.seed, name, self.large_bytes, workers=self.workers)
        elif phase == "storm":
            for order in orders(self.seed, name, self.large_bytes, workers=self.workers):
                if self.phase != "storm":
                    return
                yield order
        elif phase == "calm":
            for number in range(CALM_CALLS):
                yield Order("calm", f"{name}-calm-{number}", "add", {"a": number, "b": 1}, own_s=0.0)

    def begun(self, order: Order) -> None:
        self.since[order.token] = time.monotonic()
        self.log.begun(order)

    def ended(self, order: Order, outcome: tuple[str, str]) -> None:
        self.log.ended(order, *outcome)
        self.since.pop(order.token, None)

    def run(self) -> None:
        raise NotImplementedError


class Threads(Callers):
    def run(self) -> None:
        with lb.connect() as self.net:
            self.connected.set()
            threads = [threading.Thread(target=self._call, args=(name,)) for name in self.names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _call(self, name: str) -> None:
        while (phase := self.phase) != "end":
            for order in self._of_phase(name, phase):
                self.begun(order)
                try:
                    outcome = do_blocking(self.net, order)
                except BaseException as error:
                    outcome = verdict_on_error(order, error)
                self.ended(order, outcome)
                time.sleep(self.pause_s)
            self._wait_for_the_next(phase)


class Tasks(Callers):
    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        async with lb.AsyncNetwork() as net:
            self.connected.set()
            await asyncio.gather(*(self._call(net, name) for name in self.names))

    async def _call(self, net: lb.AsyncNetwork, name: str) -> None:
        while (phase := self.phase) != "end":
            for order in self._of_phase(name, phase):
                self.begun(order)
                try:
                    outcome = await do_async(net, order)
                except BaseException as error:
                    outcome = verdict_on_error(order, error)
                self.ended(order, outcome)
                await asyncio.sleep(self.pause_s)
            await asyncio.to_thread(self._wait_for_the_next, phase)


def watch(callers: Callers) -> None:
    """Tell of calls that have not ended after HANG_S: where everybody stands, and what they wait for."""
    while True:
        time.sleep(5.0)
        late = [token for token, since in list(callers.since.items()) if time.monotonic() - since > HANG_S]
        if late:
            print(f"hang: {late}", file=sys.stderr)
            faulthandler.dump_traceback()
            return


def run(callers: Callers) -> None:
    try:
        callers.run()
    except lb.LandbridgeError as error:
        # In a storm there may be no broker to connect to; whoever started us tries again.
        print(f"could not connect: {error}", file=sys.stderr)
        callers.failed = True
        callers.connected.set()


def main() -> None:
    index, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    callers = (Tasks if index % 2 else Threads)(index, settings)
    running = threading.Thread(target=run, args=(callers,), daemon=True)
    running.start()
    threading.Thread(target=watch, args=(callers,), daemon=True).start()
    connected = callers.connected.wait(CONNECT_S) and not callers.failed
    print(connected and (callers.phase == "storm" or callers.wait_until_all_wait(HANG_S)), flush=True)
    for line in sys.stdin:
        callers.go_on(line.strip())
        if callers.phase == "end":
            break
        if callers.phase == "storm":
            continue
        print(callers.wait_until_all_wait(HANG_S), flush=True)
    running.join(30.0)


if __name__ == "__main__":
    main()
