"""What the parts of the benchmark share: what runs, and how much is to be measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from processes import Landbridge, Raw


@dataclass(frozen=True)
class Bench:
    """A network of Landbridge and a bare one, and how much is to be measured.

    Attributes
    ----------
    net : Landbridge
    raw : Raw
    rounds : int
        How often each figure is measured.
    quick : bool
        Whether only to see that it works.
    """

    net: Landbridge
    raw: Raw
    rounds: int
    quick: bool


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def seconds(command: list[str], env: dict[str, str], within_s: float | None = None) -> float:
    """Return how long a process takes from its start to its end; raises `subprocess.SubprocessError` if it fails."""
    # As on a user's machine, where Python keeps what it has compiled.
    env = {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, timeout=within_s)
    return time.perf_counter() - begin


def best_seconds(*arguments: str) -> float:
    """Return how long Python takes with these arguments, at best."""
    return min(seconds([sys.executable, *arguments], dict(os.environ)) for _ in range(5))
