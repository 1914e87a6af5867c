"""Objects elsewhere, seen from here: what is a handle, and how its lease is kept and ended."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise

import pytest

from landbridge.client.objects import Handle, Leases
from landbridge.errors import Malformed
from landbridge.names import Address
from landbridge.protocol import LEASE_S, RELEASE, RENEW

WHERE = Address("geomar", "grids", "Grid")


def handle(number: int = 1) -> Handle:
    return Handle(WHERE, "a" * 32, f"{number:032x}")


class Link:
    """Keeps what it was to tell of which object."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def tell(self, about: Handle, what: str) -> None:
        self.told.append((about.object_id, what))


@pytest.mark.parametrize(
    "made",
    [
        None,
        "a" * 32,
        {},
        {"object": "a" * 32},
        {"object": "a" * 31, "instance": "a" * 32},
        {"object": "a" * 32, "instance": "A" * 32},
        {"object": "a" * 31 + ">", "instance": "a" * 32},
        {"object": 7, "instance": "a" * 32},
        {"object": "a" * 31 + "\n", "instance": "a" * 32},
    ],
)
def test_what_is_no_object_becomes_no_handle(made):
    with pytest.raises(Malformed, match="no object"):
        Handle.made(WHERE, made)


def test_leases_are_renewed_well_before_they_end_and_not_all_the_time():
    link = Link()
    leases = Leases(link)
    leases.keep(handle(1))
    leases.keep(handle(2))
    renewed = []
    for second in range(1000, 1000 + int(2 * LEASE_S)):
        leases.tick(float(second))
        if link.told:
            assert {what for _, what in link.told} == {RENEW}
            assert len(link.told) == 2
            renewed.append(second)
            link.told.clear()
    gaps = [later - before for before, later in pairwise(renewed)]
    assert gaps
    assert max(gaps) <= LEASE_S / 2
    assert min(gaps) >= LEASE_S / 4


def test_what_is_released_is_told_once_and_not_renewed():
    link = Link()
    leases = Leases(link)
    lease = handle().lease()
    leases.keep(lease)
    leases.release(lease)
    leases.release(lease)
    leases.release(handle(2))  # never kept
    leases.tick(10_000.0)
    assert link.told == [(lease.object_id, RELEASE)]


def test_a_lease_does_not_hold_its_handle():
    held = handle()
    leases = Leases(Link())
    leases.keep(held.lease())
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None


def test_a_backend_of_another_module_that_gives_itself_the_same_id_takes_nobodys_lease():
    link = Link()
    leases = Leases(link)
    for number, institute in enumerate(("geomar", "gfz")):
        leases.keep(Handle(WHERE._replace(institute=institute), "a" * 32, f"{number:032x}", "ref"))
    leases.tick(1e6)
    assert sorted(link.told) == [(f"{number:032x}", RENEW) for number in range(2)]
