"""The register of an institute, against a model that is simple enough to be right."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from landbridge.errors import InvalidName, NotConfigured, PermissionDenied
from landbridge.hub.members import Invited, Member, Members, may_serve
from landbridge.security import Charter, member_proof, new_key

NETWORK = new_key("account", bytes(32)).public
CHARTER = Charter(NETWORK, "gfz", "", {}, 0)
PEOPLE = ("anna", "bob")
KEYS = [new_key("user", bytes(31) + bytes([number])) for number in range(3)]
PROOFS = {(who, key.public): member_proof(NETWORK, "gfz", who, key) for who in PEOPLE for key in KEYS}
INVITATIONS = [f"_I{number:032x}" for number in range(3)]


class Register(RuleBasedStateMachine):
    """Whatever happens in whatever order: in is who was invited, came in time with one key, and was not thrown out."""

    def __init__(self):
        super().__init__()
        self.now = 1_000
        self.members = Members()
        self.open: dict[str, Invited] = {}
        self.used: dict[str, tuple[str, str]] = {}
        self.good: dict[str, tuple[str, int]] = {}

    @rule(seconds=st.integers(0, 50))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(
        invitation=st.sampled_from(INVITATIONS), who=st.sampled_from(PEOPLE), stay=st.integers(1, 100),
        redeem=st.integers(1, 60),
    )  # fmt: skip
    def invite(self, invitation, who, stay, redeem):
        if invitation in self.members.invited:
            return  # ids are random
        self.members = self.members.invite(
            invitation, Invited(who, ("ocean",), self.now + stay, self.now + redeem), now=self.now
        )
        self.open = {each: old for each, old in self.open.items() if old.redeem_by > self.now}
        self.used = {each: by for each, by in self.used.items() if each in self.open}
        self.open[invitation] = self.members.invited[invitation]

    @rule(invitation=st.sampled_from(INVITATIONS), who=st.sampled_from(PEOPLE), key=st.sampled_from(KEYS))
    def join(self, invitation, who, key):
        offered = self.open.get(invitation)
        again = self.used.get(invitation, ("", ""))[1] == key.public
        may = offered is not None and (
            again
            or (
                invitation not in self.used
                and offered.person == who
                and self.now < min(offered.redeem_by, offered.until)
                and (key.public not in self.members.members or not self.members.members[key.public].revoked)
            )
        )
        try:
            self.members = self.members.admit(invitation, PROOFS[who, key.public], CHARTER, now=self.now)
        except PermissionDenied:
            assert not may
            return
        assert may
        if not again:
            self.used[invitation] = (who, key.public)
            self.good[key.public] = (who, offered.until)

    @rule(who=st.sampled_from(PEOPLE), key=st.sampled_from(KEYS))
    def renew(self, who, key):
        person, until = self.good.get(key.public, ("", 0))
        try:
            self.members = self.members.renew(PROOFS[who, key.public], CHARTER, now=self.now)
        except PermissionDenied:
            assert person != who or self.now >= until
            return
        assert (person, self.members.members[key.public].renewed) == (who, self.now)
        assert self.now < until

    @rule(who=st.sampled_from(PEOPLE))
    def revoke(self, who):
        known = {each.person for each in (*self.members.members.values(), *self.members.invited.values())}
        if who not in known:
            with pytest.raises(NotConfigured):
                self.members.revoke(who, now=self.now)
            return
        self.members, ends = self.members.revoke(who, now=self.now)
        lost = {key for key, (person, until) in self.good.items() if person == who and until > self.now}
        assert {proof for key in lost for proof in [PROOFS[who, key]]} <= set(ends)
        self.good = {key: each for key, each in self.good.items() if each[0] != who}
        self.open = {each: old for each, old in self.open.items() if old.person != who}
        self.used = {each: by for each, by in self.used.items() if each in self.open}

    @invariant()
    def what_is_kept_is_read_back(self):
        assert Members.from_json(self.members.to_json()) == self.members

    @invariant()
    def who_is_good_is_who_should_be(self):
        good = {key for key, each in self.members.members.items() if not each.revoked}
        assert good == set(self.good)


TestRegister = Register.TestCase


def test_a_proof_for_another_institute_or_network_lets_nobody_in():
    members = Members().invite(INVITATIONS[0], Invited("anna", (), 100, 100), now=1)
    for network, institute in ((new_key("account", bytes(31) + b"1").public, "gfz"), (NETWORK, "awi")):
        with pytest.raises(PermissionDenied):
            members.admit(INVITATIONS[0], member_proof(network, institute, "anna", KEYS[0]), CHARTER, now=1)


@pytest.mark.parametrize(
    ("person", "modules"), [("id", ()), ("_M", ()), ("a.b", ()), ("anna", ("id",)), ("anna", ("*",))]
)
def test_names_that_nobody_may_have_are_not_invited(person, modules):
    with pytest.raises(InvalidName):
        Members().invite(INVITATIONS[0], Invited(person, modules, 100, 100), now=1)


def test_all_can_be_shut_out_at_once_but_one():
    kept, other = Member("root", (), 100, "", 1), Member("anna", (), 100, "", 1)
    members = Members({INVITATIONS[0]: Invited("bob", (), 9, 9)}, {"U1": kept, "U2": other})
    after = members.revoke_all(but="U1", now=7)
    assert after.invited == {}
    assert (after.members["U1"].revoked, after.members["U2"].revoked) == (0, 7)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"invited": {"a": {}}, "members": {}}', '{"invited": 1, "members": 2}']
)
def test_a_damaged_register_is_told(text):
    with pytest.raises(ValueError):
        Members.from_json(text)


def test_who_may_serve_what():
    assert may_serve("anna", ("anna", "ocean")) == ("anna", "ocean")
    assert may_serve("class", ()) == ()
