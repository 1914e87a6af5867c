"""Large results are copied unless nobody else can change them any more."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import xarray as xr

from landbridge import wire
from landbridge.backend.lasting import lasting

LARGE = 2**18  # float64, so 2 MiB
KEPT = np.zeros(LARGE)
MORE: list[Any] = []


def results_of(make) -> list[bytes | memoryview]:
    """Return the large parts of what `make` returns, encoded as the runner does it."""
    box = [make()]
    return [part for part in lasting(wire.encode(box.pop())) if len(part) > 2**20]


def address(part: bytes | memoryview) -> int:
    return np.frombuffer(part, np.uint8).__array_interface__["data"][0]


OURS = {
    "array": lambda: np.zeros(LARGE),
    "other order": lambda: np.zeros((512, 1024), order="F"),
    "view": lambda: np.zeros(2 * LARGE)[:LARGE],
    "in pieces": lambda: np.zeros((1024, 1024))[::2],  # copied by the wire
    "inside": lambda: {"a": [np.zeros(LARGE)]},
    "twice": lambda: [array := np.zeros(LARGE), array[1:]],
    "times": lambda: np.zeros(LARGE, "datetime64[s]"),
    "data array": lambda: xr.DataArray(np.zeros(LARGE), dims="x"),
    "dataset": lambda: xr.Dataset({"a": ("x", np.zeros(LARGE))}, coords={"x": np.arange(LARGE)}),
    "bytes": lambda: b"x" * 2**21,
}


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
def test_what_nobody_else_holds_is_not_copied(make):
    gc.collect()
    parts = results_of(make)
    assert parts
    assert all(isinstance(part, memoryview) for part in parts)


def test_the_very_memory_of_a_fresh_array_is_sent():
    place = []

    def make():
        array = np.ones(LARGE)
        place.append(array.__array_interface__["data"][0])
        return array

    (part,) = results_of(make)
    assert [address(part)] == place


def remembered(array):
    MORE.append(array)
    return array


def in_a_closure():
    array = xr.DataArray(np.zeros(LARGE), dims="x")
    MORE.append(lambda: array)
    return array


def weakly():
    array = np.zeros(LARGE)
    MORE.append(weakref.ref(array))
    return array


THEIRS = {
    "array": lambda: KEPT,
    "view": lambda: KEPT[1:],
    "view of view": lambda: KEPT.reshape(512, -1).T,
    "inside": lambda: {"a": KEPT},
    "data array": lambda: xr.DataArray(KEPT, dims="x"),
    "dataset": lambda: xr.Dataset({"a": ("x", KEPT), "b": ("x", np.zeros(LARGE))})[["a"]],
    "remembered": lambda: remembered(np.zeros(LARGE)),
    "view remembered": lambda: remembered(np.zeros(2 * LARGE)[:LARGE]),
    "view of remembered": lambda: remembered(np.zeros(2 * LARGE))[:LARGE],
    "buffer remembered": lambda: remembered(memoryview(array := np.zeros(LARGE))) and array,
    "dataset remembered": lambda: remembered(xr.Dataset({"a": ("x", np.zeros(LARGE))}))["a"],
    "closure": in_a_closure,
    "weakly": weakly,
    "memory of others": lambda: np.frombuffer(bytearray(2**21)),
    "masked": lambda: np.ma.MaskedArray(KEPT),
    "bytearray": lambda: bytearray(2**21),
}


@pytest.mark.parametrize("make", THEIRS.values(), ids=THEIRS)
def test_what_somebody_may_still_change_is_copied(make):
    parts = results_of(make)
    assert parts
    assert all(isinstance(part, bytes) for part in parts)
    MORE.clear()


def test_a_copy_does_not_change_with_its_array():
    (part,) = results_of(lambda: KEPT)
    KEPT[:] = 7
    assert not np.frombuffer(part).any()
    KEPT[:] = 0


def test_items_of_a_generator_that_goes_on_with_its_array_are_copied():
    def fill():
        array = np.zeros(LARGE)
        for i in range(3):
            array[:] = i
            yield array

    got = []
    for item in fill():
        box = [item]
        del item
        got += [part for part in lasting(wire.encode(box.pop())) if len(part) > 2**20]
    assert [np.frombuffer(part)[0] for part in got] == [0, 1, 2]
