"""Parts of a data set of 340 MB, straight and through a link between institutes: calls, bytes and time of each."""

from __future__ import annotations

import statistics
from typing import Any

from bench import Bench, say
from counts import counted
from data_caller import SLICES
from fields import STEPS, write
from processes import Child
from report import Part, Row

DELAY_S = 0.015
BYTES_PER_S = 100e6 / 8
LINK = "30 ms, 100 Mbit"
REACH = {"point series": "<= 1"}
OPENINGS = {"open, by module": "bench/field", "open": "bench/field.data"}


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: a small call, the file itself, the data set; straight, then through the link."""
    file = write(bench.net.folder / "field.nc", 60 if bench.quick else STEPS)
    backend = bench.net.serve(file, "bench/field")
    link = bench.net.link(DELAY_S, BYTES_PER_S)
    ways = {
        "straight": bench.net.caller(program="data_caller.py"),
        LINK: bench.net.caller(program="data_caller.py", url=link.ask(do="url")),
    }
    found: dict[str, dict[str, list[dict[str, Any]]]] = {way: {} for way in ways}
    echo = Row("bulk", "MB/s")
    for number in range(bench.rounds + 1):
        # The first round is for what is imported and read when it is first needed.
        say(f"slices, {f'round {number} of {bench.rounds}' if number else 'to begin with'}")
        for way, caller in ways.items():
            for what in (*OPENINGS, *SLICES):
                figures = one(bench, backend, link, caller, what, file)
                if number:
                    found[way].setdefault(what, []).append(figures)
        if number:
            bulk = found["straight"]["bulk"][-1]
            echo_s = ways["straight"].ask(do="one_way", size=bulk["needed"], each=bulk["needed"])
            echo.limit.append(bulk["needed"] / echo_s)
            echo.ours.append(bulk["needed"] / bulk["s"])
    for caller in ways.values():
        caller.stop()
    return [
        Part("Calls for a part of a data set", "one", calls(found), found),
        Part("Bytes of a part of a data set", "1.05 x + 4 KB", sizes(found), {}),
        Part("Time of a part of a data set, straight", "the file itself", straight(found["straight"]), {}),
        Part("A large part of a data set, straight", "echo, one way", [echo], {}),
        Part(f"Time of a part of a data set, {LINK}", "2 trips+bytes+file", far(found[LINK]), {}),
    ]


def one(bench: Bench, backend: Child, link: Child, caller: Child, what: str, file: Any) -> dict[str, Any]:
    """Measure one selection, with a small call before it."""
    trip_s = caller.ask(do="round_trip", calls=3)
    before = counted(backend, "calls_begun"), counted(backend, "sent_bytes"), link.ask(do="carried")["down"]
    if what in OPENINGS:
        figures = caller.ask(do="opening", address=OPENINGS[what], file=str(file))
    else:
        figures = caller.ask(do="selection", what=what)
    after = counted(backend, "calls_begun"), counted(backend, "sent_bytes"), link.ask(do="carried")["down"]
    calls, sent, carried = (late - early for late, early in zip(after, before, strict=True))
    return {**figures, "trip_s": trip_s, "calls": calls, "sent": sent, "carried": carried}


def calls(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[Row]:
    both = {what: found["straight"][what] + found[LINK][what] for what in (*OPENINGS, *SLICES)}
    return [
        Row(what, "calls", [each["calls"] for each in rounds], [1.0] * len(rounds), "<= 1")
        for what, rounds in both.items()
    ]


def sizes(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[Row]:
    """Compare with 1.05 times the selected bytes, and 4 KB for what every answer has around them."""
    rows = []
    for what in SLICES:
        rounds = found[LINK][what]
        limit = [1.05 * each["needed"] + 4096 for each in rounds]
        row = Row(what, "KB", [each["sent"] for each in rounds], limit, "<= 1")
        row.note = f"{statistics.median(each['carried'] for each in rounds) / 1e3:,.1f} KB came through the link in all"
        rows.append(row)
    return rows


def straight(found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    return [
        Row(what, "ms", [each["s"] for each in rounds], [each["home_s"] for each in rounds])
        for what, rounds in found.items()
    ]


def far(found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """Compare with two trips, the time that the selected bytes take, and what the file takes without a network."""
    rows = [Row("a small call", "ms", [each["trip_s"] for rounds in found.values() for each in rounds])]
    for what, rounds in found.items():
        limit = [2 * each["trip_s"] + each["needed"] / BYTES_PER_S + each["home_s"] for each in rounds]
        rows.append(Row(what, "ms", [each["s"] for each in rounds], limit, REACH.get(what, "")))
    bulk = Row("bulk, beside the rate of the link alone", "MB/s", reach=">= 0.9")
    bulk.ours = [each["needed"] / each["s"] for each in found["bulk"]]
    bulk.limit = [BYTES_PER_S] * len(bulk.ours)
    return [*rows, bulk]
