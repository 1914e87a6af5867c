"""Which institutes are in a network, by what they have signed: attempts by each of them, and a model of the whole."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from landbridge.errors import InvalidName, NotConfigured, PermissionDenied
from landbridge.hub.institutes import Institute
from landbridge.hub.keys import NetworkKeys
from landbridge.hub.partners import PartnerInvited, Partners
from landbridge.security import ROLES, new_key

DAY = 24 * 3600
NETWORK = NetworkKeys.create(secrets.token_bytes, now=1_000)
GFZ = Institute.create("gfz", NETWORK.net.public, "gfz", secrets.token_bytes, now=1_000)
AWI = Institute.create("awi", NETWORK.net.public, "awi", secrets.token_bytes, now=1_000)
FIRST, SECOND = "_I" + "1" * 32, "_I" + "2" * 32


def joined(*institutes, now=1_000):
    keys = NETWORK
    for number, institute in enumerate(institutes):
        invitation = f"_I{number:032x}"
        keys = keys.invite(invitation, PartnerInvited(institute.name, now + DAY), now=now)
        keys = keys.join(invitation, institute.charter_text(), now=now)
    return keys


def signing_keys(keys, name):
    return {key for _, key in keys.partners.joined[name].keys(keys.as_of)}


def publics(institute):
    return {pair.public for pair in institute.keys.values()}


def test_an_invitation_is_used_up_by_the_root_key_that_comes_first():
    keys = NETWORK.invite(FIRST, PartnerInvited("gfz", 2_000), now=1_000)
    other = Institute.create("x", NETWORK.net.public, "gfz", secrets.token_bytes, now=1_000)
    keys = keys.join(FIRST, GFZ.charter_text(), now=1_500)
    assert signing_keys(keys, "gfz") == publics(GFZ)
    assert keys.join(FIRST, GFZ.charter_text(), now=9_000) is keys
    with pytest.raises(PermissionDenied, match="has been used already"):
        keys.join(FIRST, other.charter_text(), now=1_500)
    with pytest.raises(PermissionDenied, match="is over"):
        keys.join(SECOND, other.charter_text(), now=1_500)


@pytest.mark.parametrize("now", [2_000, 3_000])
def test_an_invitation_ends(now):
    keys = NETWORK.invite(FIRST, PartnerInvited("gfz", 2_000), now=1_000)
    with pytest.raises(PermissionDenied, match="is over"):
        keys.join(FIRST, GFZ.charter_text(), now=now)


def test_an_invitation_is_for_one_name():
    keys = NETWORK.invite(FIRST, PartnerInvited("gfz", 2_000), now=1_000)
    with pytest.raises(PermissionDenied, match="is for gfz, not for awi"):
        keys.join(FIRST, AWI.charter_text(), now=1_000)
    for name in ("lb", "local", "id", "*", "a.b"):
        with pytest.raises(InvalidName):
            NETWORK.invite(FIRST, PartnerInvited(name, 2_000), now=1_000)


def test_who_is_there_is_replaced_only_when_it_is_said():
    keys = joined(GFZ)
    other = Institute.create("x", NETWORK.net.public, "gfz", secrets.token_bytes, now=1_000)
    with pytest.raises(NotConfigured, match="--replace"):
        keys.invite(FIRST, PartnerInvited("gfz", 2_000), now=1_000)
    keys = keys.invite(FIRST, PartnerInvited("gfz", 2_000, replace=True), now=1_000)
    keys = keys.join(FIRST, other.charter_text(), now=1_000)
    assert signing_keys(keys, "gfz") == publics(other)


def test_two_open_invitations_of_a_name_let_in_one():
    keys = NETWORK.invite(FIRST, PartnerInvited("gfz", 2_000), now=1_000)
    keys = keys.invite(SECOND, PartnerInvited("gfz", 2_000), now=1_000)
    other = Institute.create("x", NETWORK.net.public, "gfz", secrets.token_bytes, now=1_000)
    keys = keys.join(FIRST, GFZ.charter_text(), now=1_000)
    with pytest.raises(PermissionDenied, match="there is an institute of this name by now"):
        keys.join(SECOND, other.charter_text(), now=1_000)


def test_nobody_joins_with_keys_that_somebody_else_has():
    keys = joined(AWI).invite(SECOND, PartnerInvited("gfz", 2_000), now=1_000)
    rotated = AWI.rotated(secrets.token_bytes, now=1_500)
    keys = keys.rotate(rotated.charter_text(replaced_until=9_000), now=1_500)
    owned = keys.add_institute("ufz", secrets.token_bytes, now=1_500)
    stolen = [
        AWI.keys["person"], rotated.keys["serve"], AWI.root, NETWORK.net, NETWORK.jobs, NETWORK.system,
        owned.institutes["ufz"]["person"],
    ]  # fmt: skip
    for pair in stolen:
        for forged in (replace(GFZ, keys={**GFZ.keys, "leaf": pair}), replace(GFZ, root=pair)):
            with pytest.raises(PermissionDenied, match="a key that somebody else has"):
                owned.join(SECOND, forged.charter_text(), now=1_500)
    elsewhere = Institute.create("gfz", new_key("account", bytes(32)).public, "gfz", secrets.token_bytes, now=1_000)
    with pytest.raises(PermissionDenied, match="another network"):
        owned.join(SECOND, elsewhere.charter_text(), now=1_500)


def test_new_keys_need_the_root_key_and_a_later_charter():
    keys = joined(GFZ, AWI)
    anew = GFZ.rotated(secrets.token_bytes, now=1_500)
    after = keys.rotate(anew.charter_text(replaced_until=1_500 + DAY), now=1_500)
    assert signing_keys(after, "gfz") == publics(GFZ) | publics(anew)
    wrong = [
        replace(anew, root=AWI.root),
        replace(anew, root=new_key("account", bytes(32))),
        replace(anew, name="awi"),
        GFZ.rotated(secrets.token_bytes, now=1_500),  # as late as the one that it has
        replace(GFZ, at=999),
        replace(anew, name="ufz"),
    ]
    for each in wrong:
        with pytest.raises(PermissionDenied):
            after.rotate(each.charter_text(replaced_until=9_000), now=1_600)


def test_what_anybody_can_send_again_changes_nothing():
    keys = joined(GFZ)
    anew = GFZ.rotated(secrets.token_bytes, now=1_500)
    text = anew.charter_text(replaced_until=1_500 + DAY)
    after = keys.rotate(text, now=1_500)
    assert after.rotate(text, now=1_600) is after
    with pytest.raises(PermissionDenied, match="no newer"):
        after.rotate(GFZ.charter_text(), now=1_600)


def test_replaced_keys_end_when_the_last_charter_says_and_not_with_the_number_of_changes():
    keys = joined(GFZ)
    anew = GFZ.rotated(secrets.token_bytes, now=1_500)
    keys = keys.rotate(anew.charter_text(replaced_until=2_000), now=1_500)
    for number in range(2_000):  # others change something, many times in a second
        keys = keys.revoke("awi", {f"U{number % 400}": 10_000 + number}, now=1_600)
    assert keys.changed > 3_000
    assert signing_keys(keys, "gfz") == publics(GFZ) | publics(anew)
    assert signing_keys(keys.tidy(now=2_000), "gfz") == publics(anew)
    shorter = anew.as_of(1_700).charter_text(replaced_until=1_700)
    assert signing_keys(keys.rotate(shorter, now=1_700), "gfz") == publics(anew)


def test_each_generation_of_keys_is_good_as_long_as_it_was_said():
    keys, institute, generations = joined(GFZ), GFZ, [GFZ]
    for number in range(3):
        institute = institute.rotated(secrets.token_bytes, now=2_000 + number)
        keys = keys.rotate(institute.charter_text(replaced_until=2_000 + DAY), now=2_000 + number)
        generations.append(institute)
        assert signing_keys(keys, "gfz") == set().union(*map(publics, generations))
    again = institute.rotated(secrets.token_bytes, now=2_010)
    with pytest.raises(PermissionDenied, match="3 that it has replaced are still good"):
        keys.rotate(again.charter_text(replaced_until=2_000 + DAY), now=2_010)
    assert signing_keys(keys.rotate(again.charter_text(replaced_until=0), now=2_010), "gfz") == publics(again)


def test_a_key_that_one_institute_has_declared_void_is_not_freed_by_another():
    keys = joined(GFZ, AWI).revoke("gfz", {"Ueve": 10_000}, now=1_000)
    keys = keys.revoke("awi", {"Ueve": 1_001}, now=1_000).tidy(now=2_000)
    assert keys.partners.void_keys(2_000) == ["Ueve"]
    keys = keys.revoke("gfz", {"Ueve": 1_500}, now=1_000)
    assert keys.partners.void_keys(2_000) == ["Ueve"]
    assert keys.remove("awi", now=2_000).remove("gfz", now=2_000).partners.void_keys(2_000) == ["Ueve"]
    assert keys.tidy(now=10_000).partners.void_keys(10_000) == []
    assert keys.revoke("gfz", {"Ueve": 10_000}, now=1_000) is keys


def test_no_institute_fills_the_token_for_the_others():
    keys = joined(GFZ, AWI).revoke("gfz", {f"U{number}": 10_000 for number in range(500)}, now=1_000)
    with pytest.raises(PermissionDenied, match="rotate --now"):
        keys.revoke("gfz", {"Uone": 10_000}, now=1_000)
    assert "Ubob" in keys.revoke("awi", {"Ubob": 10_000}, now=1_000).partners.void_keys(1_000)
    anew = GFZ.rotated(secrets.token_bytes, now=1_500)
    freed = keys.rotate(anew.charter_text(replaced_until=1_500), now=1_500)
    assert freed.partners.void_keys(1_500) == []  # nothing that those keys have signed is good any more


def test_a_later_charter_of_the_same_keys_lets_nobody_in_again_whom_these_have_signed():
    keys = joined(GFZ).revoke("gfz", {"Ueve": 10_000}, now=1_000)
    again = keys.rotate(GFZ.as_of(1_500).charter_text(replaced_until=1_500), now=1_500)
    assert again.partners.void_keys(1_500) == ["Ueve"]


def test_who_is_shut_out_is_out_with_its_open_invitations():
    keys = joined(GFZ).invite(FIRST, PartnerInvited("gfz", 2_000, replace=True), now=1_000)
    out = keys.remove("gfz", now=1_000)
    assert out.partners.joined == {}
    with pytest.raises(PermissionDenied):
        out.join(FIRST, GFZ.charter_text(), now=1_000)
    with pytest.raises(NotConfigured, match="no institute 'gfz'"):
        out.remove("gfz", now=1_000)
    taken_back = NETWORK.invite(FIRST, PartnerInvited("ufz", 2_000), now=1_000).remove("ufz", now=1_000)
    assert taken_back.partners.invited == {}
    for own in ("lb", "local"):
        with pytest.raises(NotConfigured):
            keys.remove(own, now=1_000)


def test_what_is_kept_is_read_back_and_the_file_of_before_too(tmp_path):
    keys = joined(GFZ, AWI).revoke("gfz", {"Ueve": 10_000}, now=1_000)
    keys = keys.rotate(GFZ.rotated(secrets.token_bytes, now=1_500).charter_text(replaced_until=9_000), now=1_500)
    keys.save(tmp_path)
    assert NetworkKeys.load(tmp_path) == keys
    file = tmp_path / "keys.json"
    said = json.loads(file.read_text())
    for key in ("partners", "as_of", "told", "name"):
        del said[key]
    said["version"] = 1
    file.write_text(json.dumps(said))
    assert NetworkKeys.load(tmp_path) == replace(keys, partners=Partners(), as_of=0, told=0, name="")


@pytest.mark.parametrize(
    "damage", [{"joined": {"*": {"text": "", "replaced": []}}}, {"revoked": 1}, {"invited": {"a": {}}}]
)
def test_a_damaged_register_is_told(tmp_path, damage):
    keys = joined(GFZ)
    keys.save(tmp_path)
    file = tmp_path / "keys.json"
    said = json.loads(file.read_text())
    said["partners"] |= damage
    file.write_text(json.dumps(said))
    with pytest.raises(NotConfigured, match="damaged"):
        NetworkKeys.load(tmp_path)


class Changes(RuleBasedStateMachine):
    """Whatever institutes do: each later token is newer, and what was revoked stays so until its end."""

    def __init__(self):
        super().__init__()
        self.now = 1_000
        self.keys = joined(GFZ, AWI)
        self.of = {"gfz": GFZ, "awi": AWI}
        self.void: dict[tuple[str, str], int] = {}
        self.last, self.latest, self.made = self.keys.changed, self.now, 0

    def random(self, size):
        """Return bytes that are others each time, and the same when a run is repeated."""
        self.made += 1
        return hashlib.sha256(self.made.to_bytes(8, "big")).digest()[:size]

    @rule(seconds=st.integers(-50, 500))
    def time_passes(self, seconds):
        self.now = max(1_000, self.now + seconds)
        self.latest = max(self.latest, self.now)

    @rule(name=st.sampled_from(["gfz", "awi"]), member=st.sampled_from("abc"), stay=st.integers(-10, 1_000))
    def revoke(self, name, member, stay):
        self.keys = self.keys.revoke(name, {member: self.now + stay}, now=self.now)
        if stay > 0:
            self.void[name, member] = max(self.void.get((name, member), 0), self.now + stay)

    @rule(name=st.sampled_from(["gfz", "awi"]), keep=st.integers(1, 1_000))
    def rotate(self, name, keep):
        if name not in self.keys.partners.joined:
            return
        anew = self.of[name].rotated(self.random, now=self.now)
        try:
            self.keys = self.keys.rotate(anew.charter_text(replaced_until=self.now + keep), now=self.now)
        except PermissionDenied:
            assert len(self.keys.partners.joined[name].replaced) == 3
            return
        self.of[name] = anew

    @rule()
    def tidy(self):
        self.keys = self.keys.tidy(now=self.now)

    @invariant()
    def tokens_only_get_newer(self):
        assert self.keys.changed >= self.last
        self.last = self.keys.changed

    @invariant()
    def void_is_what_was_revoked_and_has_not_ended(self):
        # What has ended may be forgotten, also for a clock that is set back afterwards.
        void = {member for (_, member), until in self.void.items() if self.latest < until}
        assert void <= set(self.keys.partners.void_keys(self.now))

    @invariant()
    def the_last_keys_are_good(self):
        for name, institute in self.of.items():
            assert publics(institute) <= signing_keys(self.keys, name)
            assert len(signing_keys(self.keys, name)) <= 4 * len(ROLES)


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
