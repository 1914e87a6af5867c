"""Runs what may crash an interpreter in one of its own, so that it fails one test instead of ending all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def outcomes_of(script: str, *arguments: str) -> dict[str, int]:
    """Return what the script printed, ``name=count`` in each line; a crash fails with what it said."""
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", script, *arguments],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return {name: int(count) for name, count in (line.split("=") for line in ran.stdout.split())}
