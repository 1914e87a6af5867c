"""One network with an ordinary and a hostile module, which the tests of the command line share."""

from __future__ import annotations

import json

import pytest

from network import running_network

OCEAN = '''
"""Sea surface temperature.

Monthly means.
"""
import asyncio
import enum
import pathlib
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import xarray as xr

__all__ = ["add", "clip", "columns", "field", "gappy", "hello", "mean", "patient", "raises", "sleepy", "squared",
           "total", "years"]
__version__ = "1.2"


class Season(enum.Enum):
    """Three months."""

    WINTER = "djf"
    SUMMER = "jja"


@dataclass
class Box:
    """Part of the sea."""

    west: Annotated[float, "degrees_east"] = -20.0
    east: float = 20.0


def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


def hello(name: str = "you") -> str:
    return "hello " + name


def mean(first: int, last: int, region: Box = Box(), season: Season = Season.WINTER, fill: bool = False,
         depth: Annotated[float, "m"] = 0.0) -> dict:
    """Mean of something.

    Parameters
    ----------
    first : int
        First year.
    """
    return {"years": [first, last], "west": region.west, "season": season.name, "fill": fill, "depth": depth}


def years(first: int, last: int):
    """Give years one by one."""
    yield from range(first, last)


def field(n: int = 3) -> xr.DataArray:
    return xr.DataArray(np.arange(float(n)), dims="x", coords={"x": np.arange(n)}, name="sst", attrs={"units": "K"})


def squared(values: list[int]) -> np.ndarray:
    return np.array(values) ** 2


def columns() -> dict:
    return {"year": [2006, 2007], "sst": [26.5, 27.5]}


def gappy() -> list:
    return [1.0, float("nan")]


def total(values: np.ndarray) -> float:
    return float(np.sum(values))


def clip(field: xr.DataArray, least: float) -> float:
    return float(field.clip(min=least).sum())


def raises() -> None:
    raise KeyError("no such basin")


async def sleepy(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def patient(folder: str) -> None:
    """Wait until cancelled, and leave a file that says so."""
    pathlib.Path(folder, "started").touch()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pathlib.Path(folder, "cancelled").touch()
        raise
'''

HOSTILE = '''
"""\\x1b[2JErased. \\x9b31m\\u202e\\x07"""
__all__ = ["trap"]


def trap(a: int = 0) -> str:
    """\\x1b]0;title\\x07 Do \\x9b31m this.

    Parameters
    ----------
    a : int
        A \\x1b[31m number.
    """
    raise ValueError("\\x1b[2Jgone")
'''


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    with running_network(tmp_path_factory.mktemp("cli")) as network:
        network.serve(OCEAN, "geomar/ocean")
        network.serve(HOSTILE, "evil/trap")
        yield network


@pytest.fixture
def call(network):
    def call(*words, **options):
        return network.run("call", *map(str, words), **options)

    return call


@pytest.fixture
def empty_env(network, tmp_path) -> dict[str, str]:
    """Settings of somebody who has no network."""
    return {**network.env, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def error_code(stdout: str) -> str:
    """Return the code of the one error that a command with --json printed."""
    return json.loads(stdout)["error"]["code"]
