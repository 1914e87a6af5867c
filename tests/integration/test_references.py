"""Results that stay where they were made: kept, fetched, passed on to a third institute, and let go of."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import textwrap
from dataclasses import replace

import numpy as np
import pytest

import landbridge as lb

OCEAN = '''
import numpy as np
import landbridge as lb

__all__ = ["field", "touch", "same", "total"]

@lb.method(share=["awi/*"], onward=["gfz/*"])
def field(n: int) -> np.ndarray:
    """Some numbers."""
    return np.arange(n, dtype="f8")

@lb.method(process=True)
def far(n: int) -> np.ndarray:
    return np.arange(n, dtype="f8")

@lb.method
async def soon(n: int) -> np.ndarray:
    return np.arange(n, dtype="f8")

def steps(n: int):
    yield from range(n)

def touch(values: np.ndarray) -> float:
    values[0] = 7.0
    return float(values[0])

def total(values: np.ndarray) -> float:
    return float(values.sum())

@lb.method
def items(n: int):
    for k in range(n):
        yield k

def same(x: list) -> list:
    return x
'''

STATS = """
import numpy as np
import landbridge as lb

__all__ = ["total", "deep"]

@lb.method(share=["*/*"])
def total(values: np.ndarray) -> float:
    return float(values.sum())

@lb.method(share=["*/*"])
async def total_async(values: np.ndarray) -> float:
    return float(values.sum())

@lb.method(share=["*/*"], process=True)
def total_far(values: np.ndarray) -> float:
    return float(values.sum())

@lb.method(share=["*/*"])
def deep(values: dict) -> list:
    return [type(values["a"][0]).__name__, values["a"][0] is values["b"], float(values["b"].sum())]
"""


@pytest.fixture(scope="module")
def ocean(network, net):
    network.serve(OCEAN, "geomar/ocean")
    return net["geomar/ocean"]


@pytest.fixture(scope="module")
def stats(network, net):
    network.serve(STATS, "awi/stats")
    return net["awi/stats"]


def test_a_kept_result_stays_and_can_be_had(ocean):
    kept = ocean.field.keep(1000)
    assert isinstance(kept, lb.Reference)
    assert kept.target == "geomar/ocean.field"
    assert kept.summary["type"] == "numpy.ndarray"
    assert kept.summary["shape"] == [1000]
    assert kept.summary["dtype"] == "float64"
    np.testing.assert_array_equal(kept.get(), np.arange(1000.0))
    assert kept.info()["state"] == "in memory"
    assert "geomar/ocean.field" in repr(kept)


@pytest.mark.parametrize("method", ["far", "soon"])
def test_results_of_workers_and_coroutines_are_kept_too(ocean, method):
    kept = getattr(ocean, method).keep(100_000)
    np.testing.assert_array_equal(kept.get(), np.arange(100_000.0))


def test_a_stream_cannot_be_kept(ocean):
    with pytest.raises(TypeError, match="is a stream"):
        ocean.items.keep(3)


def test_a_released_reference_is_gone(ocean):
    with ocean.field.keep(10) as kept:
        assert kept.get().size == 10
    assert ocean.same([1]) == [1]  # what was told before has been heard
    with pytest.raises(lb.ObjectGone, match="released"):
        kept.get()


def test_a_reference_given_back_to_its_backend_is_the_value_and_cannot_be_changed(ocean):
    kept = ocean.field.keep(1000)
    assert ocean.total(kept) == 499_500.0
    with pytest.raises(ValueError, match="read-only"):
        ocean.touch(kept)
    assert kept.get()[0] == 0.0


@pytest.mark.parametrize("method", ["total", "total_async", "total_far"])
def test_a_third_institute_fetches_the_value_itself(ocean, stats, method):
    kept = ocean.field.keep(2_000_000)
    call = getattr(stats, method).start(kept)
    assert call.result() == float(np.arange(2_000_000.0).sum())
    assert call.bytes_sent < 2000
    assert call.bytes_received < 2000


def test_references_may_stand_anywhere_in_the_arguments(ocean, stats):
    kept = ocean.field.keep(100)
    assert stats.deep({"a": [kept], "b": kept})[0::2] == ["ndarray", 4950.0]


def test_a_value_given_many_times_is_fetched_once_and_too_many_are_refused(net, ocean, stats):
    kept = ocean.field.keep(1_000_000)
    copies = [net._refer(kept._data) for _ in range(60)]
    assert stats.deep({"a": copies, "b": kept})[0] == "ndarray"
    with pytest.raises(lb.InvalidArguments, match="refer to 101 kept values"):
        stats.deep({"a": [ocean.field.keep(n) for n in range(1, 102)], "b": 0})


def test_what_references_stand_for_is_as_bounded_as_arguments(network, ocean):
    network.serve(STATS, "awi/small", LANDBRIDGE_MEMORY_BYTES=str(300 * 2**20))
    with lb.connect() as net:
        kept = [ocean.field.keep(3_000_000 + n) for n in range(4)]  # 24 MB each, and 75 may be held
        with pytest.raises(lb.TooLarge, match="what the references stand for"):
            net["awi/small"].deep({"a": kept, "b": kept[0]})
        assert net["awi/small"].total(kept[0]) > 0


def test_owners_that_take_their_time_keep_nobody_else_waiting(network, net, ocean, stats):
    frozen = network.serve(OCEAN, "ufz/slow")
    kept = net["ufz/slow"].field.keep(10)
    assert stats.total_async(kept) == 45.0  # the grant is there, and good for more
    frozen.signal(signal.SIGSTOP)
    try:
        waiting = [stats.total_async.start(kept) for _ in range(20)]
        assert ocean.soon.keep(5).get().size == 5
        assert stats.total_async(ocean.field.keep(10)) == 45.0
        assert {call.cancel() for call in waiting} <= {"stopped", "stopping"}
    finally:
        frozen.signal(signal.SIGCONT)


def test_whom_a_value_may_go_on_to_is_its_owners_to_say(network, ocean, stats):
    network.serve(STATS, "ifm/stats")
    with lb.connect("awi/anna") as anna:
        kept = anna["geomar/ocean"].field.keep(10)
        assert anna["awi/stats"].total(kept) == 45.0  # her own institute
        with pytest.raises(lb.PermissionDenied, match=r"--onward 'ifm/\*'"):
            anna["ifm/stats"].total(kept)


def test_a_value_of_somebody_else_is_not_there(ocean, stats):
    kept = ocean.field.keep(10)
    with lb.connect("awi/anna") as anna:
        foreign = anna._refer(kept._data)
        with pytest.raises(lb.ObjectGone, match="made for somebody else"):
            foreign.get()
        with pytest.raises(lb.ObjectGone):
            anna["awi/stats"].total(foreign)


def test_a_grant_is_good_for_its_institute_and_its_value_alone(network, ocean, stats):
    first, second = ocean.field.keep(10), ocean.field.keep(10)
    granted = first._for("gfz")
    network.serve(STATS, "gfz/stats")
    with lb.connect("awi/otto") as otto, pytest.raises(lb.PermissionDenied, match="for a backend of gfz"):
        otto._refer(granted).get()
    other = replace(second._data, grant=granted.grant)
    with lb.connect("gfz/_M") as backend:
        np.testing.assert_array_equal(backend._refer(granted).get(), np.arange(10.0))
        with pytest.raises(lb.PermissionDenied, match="another value"):
            backend._refer(other).get()
        for forged in ("", "a.b", "e30.AAAA", granted.grant[:-4] + "AAAA", granted.grant.replace(".", "x.", 1)):
            with pytest.raises(lb.PermissionDenied, match=r"is not one of its owner's"):
                backend._refer(replace(granted, grant=forged)).get()
        with pytest.raises(lb.UnknownMember):
            backend._refer(granted).pin(1)


def test_what_memory_has_no_room_for_goes_to_disk_and_survives_a_crash(own_network):
    served = own_network.serve(OCEAN, "geomar/ocean", LANDBRIDGE_MEMORY_BYTES=str(400 * 2**20))
    with lb.connect() as net:
        ocean = net.geomar.ocean
        kept = [ocean.field.keep(2_000_000) for _ in range(5)]  # 16 MB each, and room for 50
        states = [each.info()["state"] for each in kept]
        assert states == ["on disk"] * 2 + ["in memory"] * 3
        np.testing.assert_array_equal(kept[0].get(), np.arange(2_000_000.0))
        os.kill(served.pid, signal.SIGKILL)
        np.testing.assert_array_equal(kept[1].get(), np.arange(2_000_000.0))
        with pytest.raises(lb.ObjectGone):
            kept[4].get()


def test_a_pinned_value_survives_a_new_start_and_its_holders_end(own_network):
    served = own_network.serve(OCEAN, "geomar/ocean")
    with lb.connect() as net:
        kept = net.geomar.ocean.field.keep(1000)
        kept.pin(days=1)
        assert kept.info()["state"] == "on disk"
        pickled = pickle.dumps(kept)
        kept.release()
    served.stop()
    own_network.serve(OCEAN, "geomar/ocean")
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.get(), np.arange(1000.0))
    again.pin(days=0)
    with pytest.raises(lb.RemoteError, match="0 to 365 days"):
        again.pin(days=-1)


def test_a_backend_without_room_on_disk_says_so_and_serves_on(own_network):
    limited = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 2**20, 8 * 2**20))
    """
    own_network.serve(textwrap.dedent(limited) + OCEAN, "geomar/ocean", LANDBRIDGE_MEMORY_BYTES=str(400 * 2**20))
    with lb.connect() as net:
        ocean = net.geomar.ocean
        kept = [ocean.field.keep(2_000_000) for _ in range(3)]
        with pytest.raises(lb.Busy, match="File too large"):
            ocean.field.keep(2_000_000)
        assert all(each.get().size == 2_000_000 for each in kept)
        kept.pop().release()
        assert ocean.field.keep(1000).get().size == 1000
    left = list((own_network.folder / "state").rglob("*.frame")) + list((own_network.folder / "state").rglob(".new-*"))
    assert left == []


def test_references_for_asyncio(ocean, stats):
    async def main():
        async with lb.AsyncNetwork() as net:
            kept = await net.geomar.ocean.field.keep(1000)
            first, second = await asyncio.gather(net.awi.stats.total(kept), net.awi.stats.total(kept))
            np.testing.assert_array_equal(await kept.get(), np.arange(1000.0))
            info = await kept.info()
            kept.release()
            return first, second, info["state"], kept.summary["shape"]

    assert asyncio.run(main()) == (499_500.0, 499_500.0, "in memory", [1000])
