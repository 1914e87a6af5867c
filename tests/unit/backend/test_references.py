"""Kept values: who holds them, how long they live, and what they take up; time is an argument."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from landbridge import wire
from landbridge.backend.references import EACH, Kept, Limits, References
from landbridge.backend.spill import SpillFolder
from landbridge.errors import Busy, CannotTravel, ObjectGone, PermissionDenied
from landbridge.protocol import LEASE_S
from landbridge.security import Caller, Grant, new_key, read_grant, sign_grant

ANNA, BOB = Caller("awi", "anna"), Caller("gfz", "bob")
KEY = new_key("user", bytes(32))
HERE, THERE = "a" * 32, "b" * 32


def references(folder=None, **limits):
    limits = {"memory_bytes": 10**9, **limits}
    return References("geomar/ocean", "1" * 32, limits=Limits(**limits), key=KEY, folder=folder)


def test_ten_thousand_references_of_a_client_that_vanished_go_when_its_lease_has_ended():
    kept = references()
    for number in range(10_000):
        kept.keep(number, ANNA, HERE, "field", 0.0)
    stays = kept.keep("b", BOB, THERE, "field", 0.0)
    kept.expire(LEASE_S - 1)
    assert len(kept) == 10_001
    kept.renew(BOB, THERE, LEASE_S - 1)
    kept.expire(LEASE_S + 1)
    assert len(kept) == 1
    assert kept.find(stays.value_id, BOB, THERE, None, "value", LEASE_S + 1).value() == "b"


def test_one_message_renews_all_that_a_connection_holds_and_nobody_elses():
    kept = references()
    mine = [kept.keep(number, ANNA, HERE, "field", 0.0) for number in range(3)]
    kept.keep("other", ANNA, THERE, "field", 0.0)
    kept.renew(ANNA, HERE, 500.0)
    kept.renew(BOB, HERE, 500.0)
    kept.expire(LEASE_S + 1)
    assert len(kept) == len(mine)


def test_a_value_that_two_connections_hold_stays_until_both_have_let_go():
    kept = references()
    data = kept.keep(1, ANNA, HERE, "field", 0.0)
    kept.find(data.value_id, ANNA, THERE, None, "value", 1.0)
    kept.release(data.value_id, ANNA, HERE)
    assert len(kept) == 1
    kept.release(data.value_id, BOB, THERE)
    assert len(kept) == 1
    kept.release(data.value_id, ANNA, THERE)
    assert len(kept) == 0


def test_what_was_granted_stays_for_as_long_as_the_grant_and_no_longer(monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("landbridge.backend.references.time.time", lambda: now[0])
    kept = references()
    data = kept.keep(1, ANNA, HERE, "field", 0.0)
    grant = kept.grant(kept.find(data.value_id, ANNA, HERE, None, "grant", 0.0), "gfz")
    kept.release(data.value_id, ANNA, HERE)
    backend = Caller("gfz", "_M")
    assert kept.find(data.value_id, backend, THERE, grant, "value", 0.0).value() == 1
    now[0] += 599
    kept.expire(1.0)
    assert len(kept) == 1
    now[0] += 2
    with pytest.raises(PermissionDenied, match="ended 1 s ago"):
        kept.find(data.value_id, backend, THERE, grant, "value", 0.0)
    kept.expire(2.0)
    assert len(kept) == 0


def test_a_grant_that_ends_in_mid_transfer_does_not_take_away_what_is_being_sent(tmp_path, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("landbridge.backend.references.time.time", lambda: now[0])
    folder = tmp_path / "values"
    kept = references(SpillFolder(folder), memory_bytes=1000)
    data = kept.keep(np.arange(1000.0), ANNA, HERE, "field", 0.0)  # goes to disk at once
    grant = kept.grant(kept.find(data.value_id, ANNA, HERE, None, "grant", 0.0), "gfz")
    sent = kept.find(data.value_id, Caller("gfz", "_M"), THERE, grant, "value", 0.0).value()
    kept.release(data.value_id, ANNA, HERE)
    now[0] += 601
    kept.expire(1.0)
    kept.close()
    assert len(kept) == 0
    np.testing.assert_array_equal(sent, np.arange(1000.0))


def test_a_grant_of_another_key_or_module_opens_nothing():
    kept = references()
    data = kept.keep(1, ANNA, HERE, "field", 0.0)
    backend = Caller("gfz", "_M")
    foreign = sign_grant(
        Grant("geomar/ocean", data.value_id, "gfz", 2**40, "awi/anna"), new_key("user", bytes(31) + b"1")
    )
    elsewhere = sign_grant(Grant("geomar/other", data.value_id, "gfz", 2**40, "awi/anna"), KEY)
    for grant in (foreign, elsewhere, "", "x" * 5000):
        with pytest.raises(PermissionDenied):
            kept.find(data.value_id, backend, THERE, grant, "value", 0.0)
    assert read_grant(elsewhere, KEY.public, now=0.0).module == "geomar/other"


def test_one_caller_keeps_a_limited_number_and_limited_bytes():
    kept = references(each_bytes=1000)
    kept.keep(bytes(900), ANNA, HERE, "field", 0.0)
    with pytest.raises(Busy, match="may; release some"):
        kept.keep(bytes(900), ANNA, HERE, "field", 0.0)
    kept.keep(bytes(900), BOB, THERE, "field", 0.0)
    many = references()
    for number in range(EACH):
        many.keep(number, ANNA, HERE, "field", 0.0)
    with pytest.raises(Busy, match="20,000 values"):
        many.keep(0, ANNA, HERE, "field", 0.0)


def test_what_could_not_travel_is_not_kept():
    kept = references()
    with pytest.raises(CannotTravel):
        kept.keep(object(), ANNA, HERE, "field", 0.0)
    assert len(kept) == 0


def test_without_a_folder_a_value_without_room_is_refused_and_leaves_nothing():
    kept = references(memory_bytes=1000)
    with pytest.raises(Busy, match="no room"):
        kept.keep(bytes(2000), ANNA, HERE, "field", 0.0)
    kept.keep(bytes(600), ANNA, HERE, "field", 0.0)
    with pytest.raises(Busy, match="no room"):
        kept.keep(bytes(600), ANNA, HERE, "field", 0.0)
    assert len(kept) == 1


def test_what_was_used_least_recently_goes_to_disk_first(tmp_path):
    kept = references(SpillFolder(tmp_path / "values"), memory_bytes=2500)
    first = kept.keep(np.arange(100.0), ANNA, HERE, "field", 0.0)
    second = kept.keep(np.arange(100.0), ANNA, HERE, "field", 1.0)
    kept.find(first.value_id, ANNA, HERE, None, "value", 2.0)
    kept.keep(np.arange(100.0), ANNA, HERE, "field", 3.0)
    spilled = [kept.find(data.value_id, ANNA, HERE, None, "info", 5.0).spilled for data in (first, second)]
    assert spilled == [False, True]
    np.testing.assert_array_equal(kept.find(second.value_id, ANNA, HERE, None, "value", 6.0).value(), np.arange(100.0))


DAMAGES = {
    "record cut": lambda folder: next(folder.glob("*.json")).write_text("{"),
    "record no object": lambda folder: next(folder.glob("*.json")).write_text("[]"),
    "record of another form": lambda folder: next(folder.glob("*.json")).write_text('{"caller": 3}'),
    "record nested": lambda folder: next(folder.glob("*.json")).write_text("[" * 50_000),
    "record long": lambda folder: next(folder.glob("*.json")).write_text(" " * 10**6),
    "frame gone": lambda folder: next(folder.glob("*.frame")).unlink(),
    "record gone": lambda folder: next(folder.glob("*.json")).unlink(),
    "frame empty": lambda folder: next(folder.glob("*.frame")).write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_on_disk_is_removed_at_the_next_start(tmp_path, damage):
    folder = tmp_path / "values"
    before = references(SpillFolder(folder))
    data = before.keep(bytes(1000), ANNA, HERE, "field", 0.0)
    before.pin(before.find(data.value_id, ANNA, HERE, None, "pin", 0.0), 1.0)
    (folder / ".new-left").write_bytes(b"half")
    damage(folder)
    after = references(SpillFolder(folder))
    after.take_up(0.0)
    assert len(after) == 0
    assert list(folder.iterdir()) == []


def pinned(kept, data, days=1.0, caller=ANNA):
    found = kept.find(data.value_id, caller, HERE, None, "pin", 0.0)
    kept.pin(found, days)
    return found


def test_values_on_disk_hold_no_descriptors(tmp_path):
    kept = references(SpillFolder(tmp_path / "values"))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        assert pinned(kept, kept.keep(number, ANNA, HERE, "field", 0.0)).value() == number
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_a_value_that_is_put_on_disk_is_there_at_each_moment(tmp_path, monkeypatch):
    read = []

    class Watched(Kept):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name in ("frame", "folder") and watching:
                read.append(self.value())

    watching = False
    monkeypatch.setattr("landbridge.backend.references.Kept", Watched)
    kept = references(SpillFolder(tmp_path / "values"))
    data = kept.keep(7, ANNA, HERE, "field", 0.0)
    watching = True
    pinned(kept, data)
    assert read == [7, 7]


def test_pins_of_the_past_leave_room_for_new_ones(tmp_path, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("landbridge.backend.references.time.time", lambda: now[0])
    kept = references(SpillFolder(tmp_path / "values"), each_bytes=10_000)
    first, second = (kept.keep(bytes(3000), ANNA, HERE, "field", 0.0) for _ in range(2))
    pinned(kept, first)
    now[0] += 2 * 86_400
    assert pinned(kept, second).spilled


def test_what_cannot_be_read_at_a_start_stays_on_disk(tmp_path, monkeypatch):
    folder = tmp_path / "values"
    before = references(SpillFolder(folder))
    data = before.keep(1, ANNA, HERE, "field", 0.0)
    pinned(before, data)

    def fails(self, *arguments, **keywords):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_text", fails)
        after = references(SpillFolder(folder))
        after.take_up(0.0)
        assert len(after) == 0
    again = references(SpillFolder(folder))
    again.take_up(0.0)
    assert again.find(data.value_id, ANNA, HERE, None, "value", 0.0).value() == 1


def test_a_value_with_many_long_names_and_many_holders_survives_a_start(tmp_path):
    folder = SpillFolder(tmp_path / "values")
    before = references(folder)
    wide = xr.Dataset({f"{'ä' * 300}{number}": ("x" * 500 + str(number), np.zeros(1)) for number in range(300)})
    data = before.keep(wide, ANNA, HERE, "field", 0.0)
    for number in range(3000):
        before.find(data.value_id, ANNA, f"{number:032x}", None, "value", 0.0)
    pinned(before, data)
    after = references(folder)
    after.take_up(0.0)
    xr.testing.assert_identical(after.find(data.value_id, ANNA, HERE, None, "value", 0.0).value(), wide)


def test_after_a_start_a_value_stays_while_any_connection_of_its_caller_renews(tmp_path):
    folder = SpillFolder(tmp_path / "values")
    before = references(folder)
    data = before.keep(1, ANNA, HERE, "field", 0.0)
    pinned(before, data)
    pinned(before, data, days=0)
    after = references(folder)
    after.take_up(0.0)
    after.renew(ANNA, THERE, LEASE_S - 1)
    after.expire(LEASE_S + 1)
    assert len(after) == 1
    after.renew(BOB, THERE, 2 * LEASE_S - 2)
    after.expire(2 * LEASE_S)
    assert len(after) == 0


def test_connections_that_were_made_up_take_no_memory():
    kept = references()
    data = kept.keep(1, ANNA, HERE, "field", 0.0)
    for number in range(5000):
        kept.release(data.value_id, ANNA, f"{number:032x}")
        kept.release(data.value_id, BOB, f"{number:032x}")
    assert len(kept._held) == len(kept._leases) == 1
    for number in range(5000):
        kept.find(data.value_id, ANNA, f"{number:032x}", None, "value", 0.0)
    assert len(kept._held) == len(kept._leases) <= 1000


def test_a_grant_is_checked_whoever_shows_it():
    kept = references()
    own = Caller("geomar", "_M")
    data = kept.keep(1, own, HERE, "field", 0.0)
    with pytest.raises(PermissionDenied):
        kept.find(data.value_id, own, None, "garbage", "value", 0.0)


def test_what_was_let_go_of_cannot_be_pinned_and_pins_leave_room_for_others(tmp_path):
    kept = references(SpillFolder(tmp_path / "values"), each_bytes=10_000)
    first, second = (kept.keep(bytes(3000), ANNA, HERE, "field", 0.0) for _ in range(2))
    found = pinned(kept, first)
    with pytest.raises(Busy, match="pinned; at most 5,000"):
        pinned(kept, second)
    kept.pin(found, 0)
    kept.release(first.value_id, ANNA, HERE)
    with pytest.raises(ObjectGone):
        kept.pin(found, 1)


class KeptValues(RuleBasedStateMachine):
    """Against a simple model: a value is there exactly as long as somebody holds it, whatever happens in between."""

    @initialize()
    def start(self):
        self.kept = references(memory_bytes=10**6)
        self.now = 0.0
        self.until: dict[tuple[Caller, str], float] = {}
        self.values: dict[str, tuple[Caller, set[str], int]] = {}

    sessions = st.sampled_from([HERE, THERE])
    callers = st.sampled_from([ANNA, BOB])

    @rule(caller=callers, session=sessions, value=st.integers())
    def keep(self, caller, session, value):
        data = self.kept.keep(value, caller, session, "field", self.now)
        self.values[data.value_id] = caller, {session}, value
        self.until[caller, session] = self.now + LEASE_S

    @precondition(lambda self: self.values)
    @rule(data=st.data(), caller=callers, session=sessions)
    def find(self, data, caller, session):
        value_id = data.draw(st.sampled_from(list(self.values)))
        owner, holders, value = self.values[value_id]
        if caller != owner:
            with pytest.raises(ObjectGone):
                self.kept.find(value_id, caller, session, None, "value", self.now)
            return
        assert self.kept.find(value_id, caller, session, None, "value", self.now).value() == value
        holders.add(session)
        self.until[caller, session] = self.now + LEASE_S

    @precondition(lambda self: self.values)
    @rule(data=st.data(), caller=callers, session=sessions)
    def release(self, data, caller, session):
        value_id = data.draw(st.sampled_from(list(self.values)))
        self.kept.release(value_id, caller, session)
        if self.values[value_id][0] == caller:
            self.values[value_id][1].discard(session)

    @rule(caller=callers, session=sessions)
    def renew(self, caller, session):
        self.kept.renew(caller, session, self.now)
        if (caller, session) in self.until:
            self.until[caller, session] = self.now + LEASE_S

    @rule(seconds=st.floats(0, LEASE_S * 1.5))
    def pass_time(self, seconds):
        self.now += seconds
        self.kept.expire(self.now)
        for (caller, session), until in list(self.until.items()):
            if self.now >= until:
                del self.until[caller, session]
                for owner, holders, _ in self.values.values():
                    if owner == caller:
                        holders.discard(session)

    @invariant()
    def what_is_held_is_there_and_nothing_else(self):
        self.values = {value_id: entry for value_id, entry in self.values.items() if entry[1]}
        assert set(self.kept._kept) == set(self.values)
        size = sum(wire.size_bytes(wire.encode(value)) for _, _, value in self.values.values())
        assert self.kept._memory == size


TestKeptValues = KeptValues.TestCase
TestKeptValues.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
