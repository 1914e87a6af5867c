"""Measures what Landbridge costs beside bare nats-py, both in the same run, round by round.

Prints a table and writes it, with all figures, to ``benchmarks/results/``. Look at the ratios: each is the median over
rounds of Landbridge's figure by that of the bare client measured just before, so that a busy machine disturbs both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import nats
from processes import HERE, landbridge_network, raw_network

import landbridge as lb

PAYLOAD = b"x" * 60
IN_FLIGHT = 64


async def raw_latency(connection, calls: int) -> float:
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        await connection.request("echo", PAYLOAD, timeout=10)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


async def async_latency(method, calls: int) -> float:
    times = []
    for number in range(calls):
        begin = time.perf_counter()
        assert await method(number, 2) == number + 2
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def blocking_latency(method, calls: int) -> float:
    times = []
    for number in range(calls):
        begin = time.perf_counter()
        assert method(number, 2) == number + 2
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


async def rate(call, calls: int) -> float:
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    begin = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return calls / (time.perf_counter() - begin)


def seconds(command: list[str], env: dict[str, str]) -> float:
    # As on a user's machine, where Python keeps what it has compiled.
    env = {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


async def measure(env: dict[str, str], raw_url: str, rounds: int, calls: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    raw = await nats.connect(raw_url)
    blocking_net = await asyncio.to_thread(lb.connect)
    async with lb.AsyncNetwork() as net:
        add_async, add = net.bench.work.add_async, net.bench.work.add
        blocking = blocking_net.bench.work.add
        await raw_latency(raw, 50)
        await async_latency(add_async, 50)
        await asyncio.to_thread(blocking_latency, blocking, 50)
        seconds([sys.executable, str(HERE / "landbridge_first.py")], env)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            note("raw p50 s", await raw_latency(raw, calls))
            note("async p50 s", await async_latency(add_async, calls))
            note("blocking p50 s", await asyncio.to_thread(blocking_latency, blocking, calls))
            note("raw calls/s", await rate(lambda _: raw.request("echo", PAYLOAD, timeout=10), calls * 15))
            note("async method calls/s", await rate(lambda n: add_async(n, 1), calls * 15))
            note("plain function calls/s", await rate(lambda n: add(n, 1), calls * 15))
            note("raw first s", seconds([sys.executable, str(HERE / "raw_first.py"), raw_url], env))
            note("landbridge first s", seconds([sys.executable, str(HERE / "landbridge_first.py")], env))
    await raw.close()
    await asyncio.to_thread(blocking_net.close)
    return figures


def ratio(figures: dict[str, list[float]], ours: str, limit: str) -> float:
    return statistics.median(a / b for a, b in zip(figures[ours], figures[limit], strict=True))


def start_up() -> dict[str, float]:
    def best(*arguments: str) -> float:
        return min(seconds([sys.executable, *arguments], dict(os.environ)) for _ in range(5))

    return {
        "bare python s": best("-c", "pass"),
        "import landbridge s": best("-c", "import landbridge"),
        "import landbridge and connect's parts s": best(
            "-c", "import landbridge.client.network, landbridge.hub.access"
        ),
        "landbridge --help s": best("-m", "landbridge", "--help"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    with landbridge_network() as env, raw_network() as raw_url:
        os.environ.update({name: env[name] for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME")})
        figures = asyncio.run(measure(env, raw_url, options.rounds, options.calls))
    once = start_up()
    rows = [
        ("call p50, async client, async method", "async p50 s", "raw p50 s", "<= 1.5"),
        ("call p50, blocking client, plain function", "blocking p50 s", "raw p50 s", "<= 2.5"),
        (f"calls/s, {IN_FLIGHT} in flight, async method", "async method calls/s", "raw calls/s", ">= 0.5"),
        (f"calls/s, {IN_FLIGHT} in flight, plain function", "plain function calls/s", "raw calls/s", ">= 0.5"),
        ("process start to first result", "landbridge first s", "raw first s", "<= 2"),
    ]
    table = [f"{'':44} {'landbridge':>12} {'bare nats-py':>12} {'ratio':>6}  reach"]
    results = []
    for name, ours, limit, reach in rows:
        value = ratio(figures, ours, limit)
        reached = value <= float(reach[3:]) if reach[0] == "<" else value >= float(reach[3:])
        mine, theirs = statistics.median(figures[ours]), statistics.median(figures[limit])
        shown = (
            (f"{mine:,.0f}/s", f"{theirs:,.0f}/s")
            if "calls/s" in ours
            else (f"{mine * 1e3:.3f} ms", f"{theirs * 1e3:.3f} ms")
        )
        table.append(
            f"{name:44} {shown[0]:>12} {shown[1]:>12} {value:6.2f}  {reach} {'' if reached else 'NOT REACHED'}"
        )
        results.append(
            {"name": name, "landbridge": mine, "raw": theirs, "ratio": value, "reach": reach, "reached": reached}
        )
    table += [f"{name:44} {value * 1e3:9.0f} ms" for name, value in once.items()]
    machine = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {options.rounds} rounds of {options.calls} calls"
    )
    print(machine, *table, sep="\n")
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    document = {"machine": machine, "rows": results, "start_up": once, "figures": figures}
    (folder / "latest.json").write_text(json.dumps(document, indent=1) + "\n")
    (Path(folder) / "latest.txt").write_text("\n".join([machine, *table]) + "\n")


if __name__ == "__main__":
    main()
