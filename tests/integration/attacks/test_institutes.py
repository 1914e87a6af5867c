"""Attacks on who is in: invitations, charters, revocations and credentials, by who has real ones of another kind."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import landbridge as lb
from integration.attacks.stage import MARK
from landbridge.client.known import known_institutes
from landbridge.hub.joining import join
from landbridge.hub.rotation import shut_out
from landbridge.security import (
    ROLES,
    new_key,
    sign_charter,
)


def fresh(kind="account"):
    return new_key(kind, secrets.token_bytes(32))


def now():
    return int(time.time())


def charter(stage, institute, root, at=None, **keys):
    """Return a charter with new keys for all roles but those that are given (public)."""
    publics = {role: keys.get(role) or fresh().public for role in ROLES}
    return sign_charter(stage.keys.net.public, institute, publics, root, at=at or now() + 5)


@pytest.fixture
def register(stage):
    """What the operator knows of institutes is what it was, and so is whom it has shut out."""
    before = stage.keys
    yield
    after = stage.keys
    assert (after.joined, after.institutes, after.revoked) == (before.joined, before.institutes, before.revoked)


@pytest.fixture
def members(stage):
    """Who belongs to both institutes is who did."""

    def known():
        return [
            {key: each for key, each in admin.members.items() if not each.revoked} for admin in (stage.awi, stage.eve)
        ]

    before = known()
    yield
    assert known() == before


def refused(stage, credentials, target, said="", **arguments):
    """Ask, and be refused: by the broker when it lets nobody ask this, by the one who is asked otherwise."""
    with pytest.raises(lb.PermissionDenied) as caught:
        stage.ask(credentials, target, **arguments)
    assert said in str(caught.value)
    assert MARK not in str(caught.value)
    return str(caught.value)


def shut(stage, admin, person):
    """Have an institute shut a person out."""
    with admin.acting():
        assert shut_out(admin.ours, person, now=now()) is None


# Invitations


def race(stage, invitation, target, asked):
    """Have several use one invitation at the same time; return how many got in."""

    def one(arguments):
        try:
            return stage.ask(invitation.credentials, target, **arguments)
        except lb.PermissionDenied:
            return None

    with ThreadPoolExecutor(len(asked)) as pool:
        return [answer for answer in pool.map(one, asked) if answer is not None]


def test_of_five_who_race_for_one_invitation_of_a_person_one_gets_in(stage):
    invitation, ours = stage.invite_person(stage.eve, "racer"), stage.eve.ours
    keys = [fresh("user") for _ in range(5)]
    answers = race(stage, invitation, "gfz.join", [{"proof": ours.proof("racer", key)} for key in keys])
    assert len(answers) == 1
    assert [member.person for member in stage.eve.members.values()].count("racer") == 1


def test_of_five_who_race_for_one_invitation_of_an_institute_one_gets_in(stage):
    invitation, roots = stage.invite_institute("hzg"), [fresh() for _ in range(5)]
    answers = race(stage, invitation, "lb.join", [{"charter": charter(stage, "hzg", root)} for root in roots])
    assert len(answers) == 1
    assert stage.keys.joined["hzg"].charter.root in {root.public for root in roots}


@pytest.mark.usefixtures("members")
def test_an_invitation_of_gfz_asks_nothing_of_the_issuer_of_awi(stage):
    invitation = stage.invite_person(stage.eve, "wanderer")
    refused(stage, invitation.credentials, "awi.join", proof=stage.awi.ours.proof("wanderer", fresh("user")))
    tap = stage.eve.tap_of(invitation.credentials)
    assert tap.refuses_publish(f"lb.call.gfz.{invitation.id}.awi.id.join", b"x", tap.inbox("0" * 32))
    # Where it is good, it is.
    assert stage.ask(invitation.credentials, "gfz.join", proof=stage.eve.ours.proof("wanderer", fresh("user")))
    shut(stage, stage.eve, "wanderer")


@pytest.mark.usefixtures("register")
def test_an_invitation_of_a_person_makes_nobody_an_institute(stage):
    invitation = stage.invite_person(stage.eve, "climber")
    refused(stage, invitation.credentials, "lb.join", charter=charter(stage, "ufz", fresh()))


@pytest.mark.usefixtures("members")
def test_an_invitation_of_an_institute_makes_nobody_a_person_of_another(stage):
    invitation = stage.invite_institute("ipg")
    refused(stage, invitation.credentials, "awi.join", proof=stage.awi.ours.proof("eve", fresh("user")))


@pytest.mark.usefixtures("members")
def test_an_invitation_is_for_the_person_that_it_names(stage):
    invitation = stage.invite_person(stage.eve, "paula")
    proof = stage.eve.ours.proof("anna", fresh("user"))
    assert "is for paula, not for anna" in refused(stage, invitation.credentials, "gfz.join", proof=proof)


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize("whose", ["of mallory", "made up by eve"])
def test_who_has_no_invitation_does_not_join(stage, whose):
    credentials = stage.mallory.credentials if whose == "of mallory" else stage.eve.forge("_I" + "0" * 32)
    refused(stage, credentials, "gfz.join", proof=stage.eve.ours.proof("anna", fresh("user")))


@pytest.mark.usefixtures("register")
@pytest.mark.parametrize("whose", ["of mallory", "made up by eve"])
def test_nobody_of_an_institute_lets_another_into_the_network(stage, whose):
    credentials = stage.mallory.credentials if whose == "of mallory" else stage.eve.forge("_I" + "0" * 32)
    refused(stage, credentials, "lb.join", "Only who has an invitation", charter=charter(stage, "ufz", fresh()))


@pytest.mark.parametrize(
    "wanted",
    [
        "publish lb.call.gfz.{id}.awi.stats.hello",
        "publish lb.call.gfz.{id}.gfz.idle.join",
        "publish lb.call.gfz.mallory.gfz.id.renew",
        "publish lb.ctl.gfz.{id}.awi.stats." + "0" * 32 + ".call." + "0" * 32 + ".message",
        "publish lb.cat.gfz.idea",
        "publish _INBOX.awi.bob.c.i.0",
        "publish lb.job.gfz.{id}.awi.stats.secret.r.c.submit",
        "subscribe _INBOX.gfz.mallory.*.*.*",
        "subscribe _INBOX.gfz.*.*.*.*",
        "subscribe lb.cat.*.*",
        "subscribe lb.call.*.*.gfz.id.*",
        "subscribe lb.call.*.*.awi.stats.*",
        "subscribe >",
    ],
)
def test_an_invitation_can_only_be_used_to_join(stage, unharmed, wanted):
    invitation = stage.invite_person(stage.eve, "guest")
    tap = stage.eve.tap_of(invitation.credentials)
    verb, subject = wanted.format(id=invitation.id).split(" ")
    assert tap.refuses_publish(subject) if verb == "publish" else tap.refuses_subscribe(subject, "lb")
    assert stage.net["awi/stats"].secret() == MARK
    tap.flush()
    assert (tap.messages, MARK.encode() in tap.heard) == ([], False)
    unharmed.append("secret for awi/bob")
    assert not tap.refuses_publish(f"lb.call.gfz.{invitation.id}.gfz.id.join", b"x", tap.inbox("0" * 32))


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize("method", ["renew", "attest"])
def test_who_is_merely_invited_has_nothing_renewed_or_attested(stage, method):
    invitation = stage.invite_person(stage.eve, "guest")
    given = {"proof": stage.eve.ours.proof("guest", fresh("user"))}
    given = given if method == "renew" else {"module": "guest", "key": fresh("user").public}
    refused(stage, invitation.credentials, f"gfz.{method}", **given)


def test_an_invitation_that_was_used_reads_nothing_of_who_has_joined_with_it(stage):
    invitation = stage.invite_person(stage.awi, "carla")
    carla = stage.actor("awi-carla", "awi")
    with carla.acting():
        join(invitation.format())
    tap = stage.awi.tap_of(invitation.credentials)
    assert tap.refuses_subscribe("_INBOX.awi.carla.*.*.*")
    with carla.connected() as net:
        assert net["awi/stats"].secret() == MARK
    tap.flush()
    assert (tap.messages, MARK.encode() in tap.heard) == ([], False)


@pytest.mark.usefixtures("members")
def test_an_invitation_into_awi_that_eve_has_made_leads_nowhere(stage):
    # The name in the token is hers to choose; the key that has signed it is not.
    forged = stage.eve.forge("_I" + secrets.token_hex(16), "institute:awi", role="enrol")
    genuine = stage.invite_person(stage.awi, "dupe")
    invitation = replace(genuine, credentials=forged)
    victim = stage.actor("dupe", "awi")
    with victim.acting():
        with pytest.raises(lb.LandbridgeError) as caught:
            join(invitation.format())
        assert known_institutes() == {}
    assert MARK not in str(caught.value)
    assert not list(victim.computer.profiles.glob("*.toml"))
    with victim.acting():  # and the genuine one is good
        assert join(genuine.format()) == "awi"
    shut(stage, stage.awi, "dupe")
