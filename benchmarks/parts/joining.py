"""Coming in and going out: a new institute from its `join` to its first answer, a person from `revoke` to the cut.

Whole commands are timed, with the start of Python; the limit is a second.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import Bench, say
from processes import child
from report import Part, Row

COMMAND = [sys.executable, "-m", "landbridge"]
SERVED = "__all__ = ['f']\ndef f(a: int) -> int:\n    return a\n"
WITHIN_S = 60
LIMIT_S = 1.0


def measure(bench: Bench) -> list[Part]:
    """Measure in rounds, each with an institute and a person of its own."""
    usable = Row("a new institute: from join to its first answer (two commands)", "s", reach="<= 1")
    cut = Row("a person who serves: from revoke to the end of the backend", "s", reach="<= 1")
    served = bench.net.folder / "served.py"
    served.write_text(SERVED)
    for number in range(bench.rounds):
        say(f"joining and leaving, round {number + 1} of {bench.rounds}")
        name = f"joins{number}"
        institute = _computer(bench, name)
        invitation = _run(bench.net.env, "invite", "institute", name)
        begin = time.perf_counter()
        _run(institute, "join", given=invitation)
        _run(institute, "ls")
        usable.ours.append(time.perf_counter() - begin)

        person = _computer(bench, f"{name}-anna")
        invitation = _run(institute, "invite", "person", "anna")
        with child([*COMMAND, "admit", "--json"], bench.net.folder, institute, ready="{"):
            _run(person, "join", given=invitation)
        serving = [*COMMAND, "serve", served, "--as", f"{name}/anna", "--json"]
        with child(serving, bench.net.folder, person, ready="{") as backend:
            begin = time.perf_counter()
            _run(institute, "revoke", "person", "anna")
            backend.process.wait(WITHIN_S)
            cut.ours.append(time.perf_counter() - begin)
    for row in (usable, cut):
        row.limit = [LIMIT_S] * len(row.ours)
    return [Part("Joining, and being shut out", "a second", [usable, cut], {})]


def _computer(bench: Bench, name: str) -> dict[str, str]:
    """Return the environment of a computer that shares nothing with the others but the broker."""
    folder = Path(bench.net.folder) / name
    return {**bench.net.env, "XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}


def _run(env: dict[str, str], *words: Any, given: str = "") -> str:
    ended = subprocess.run(
        [*COMMAND, *words], env=env, input=given, check=True, capture_output=True, text=True, timeout=WITHIN_S
    )
    return ended.stdout
