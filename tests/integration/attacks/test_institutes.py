"""Attacks on who is in: invitations, charters, revocations and credentials, by who has real ones of another kind."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import landbridge as lb
from integration.attacks.stage import MARK, stays_out
from integration.identity.attacker import Refused
from landbridge.client.known import know, known_institutes
from landbridge.client.loop import wait_for
from landbridge.hub.issue import change_keys
from landbridge.hub.joining import join
from landbridge.hub.rotation import replace_keys, shut_out
from landbridge.security import (
    MOST_REVOKED,
    ROLES,
    Credentials,
    KeyPair,
    check_module_key,
    fingerprint,
    member_proof,
    new_key,
    read_charter,
    sign_charter,
    sign_revocation,
    sign_statement,
)
from landbridge.settings import local_dir


def fresh(kind="account"):
    return new_key(kind, secrets.token_bytes(32))


def now():
    return int(time.time())


def charter(stage, institute, root, at=None, keep_s=600, **keys):
    """Return a charter with new keys for all roles but those that are given (public)."""
    publics = {role: keys.get(role) or fresh().public for role in ROLES}
    until = now() + keep_s
    return sign_charter(stage.keys.net.public, institute, publics, root, at=at or now() + 5, replaced_until=until)


@pytest.fixture
def register(stage):
    """What the operator knows of institutes is what it was, and so is whom it has shut out."""
    before = stage.keys
    yield
    after = stage.keys
    known, known_before = after.partners, before.partners
    assert (known.joined, known.revoked) == (known_before.joined, known_before.revoked)
    assert after.institutes == before.institutes


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
    assert stage.keys.partners.joined["hzg"].charter.root in {root.public for root in roots}


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


# Charters


def public_charter(stage, institute):
    """Return an institute's charter as anybody can read it."""
    return stage.ask(stage.mallory.credentials, "lb.charter", institute=institute)


CHARTERS = {
    "a key that signs people of awi": lambda stage: {"person": stage.awi.ours.keys["person"].public},
    "the key by which awi serves": lambda stage: {"leaf": stage.awi.ours.keys["serve"].public},
    "the root key of awi": lambda stage: {"serve": stage.awi.ours.root.public},
    "the account of calls": lambda stage: {"serve": stage.keys.net.public},
    "the account of jobs": lambda stage: {"serve": stage.keys.jobs.public},
    "the account of the system": lambda stage: {"serve": stage.keys.system.public},
    "a key of the operator's services": lambda stage: {"serve": stage.keys.institutes["lb"]["serve"].public},
    "the key of a person": lambda stage: {"serve": stage.bob.key.public},
    "one key for two roles": lambda stage: dict.fromkeys(("serve", "person"), fresh().public),
    "no key": lambda stage: {"serve": "*"},
}


@pytest.mark.usefixtures("register", "unharmed")
@pytest.mark.parametrize("what", CHARTERS)
def test_an_institute_joins_with_no_charter_that_names(stage, what):
    invitation = stage.invite_institute("ufz")
    refused(stage, invitation.credentials, "lb.join", charter=charter(stage, "ufz", fresh(), **CHARTERS[what](stage)))


@pytest.mark.usefixtures("register", "unharmed")
@pytest.mark.parametrize("what", CHARTERS)
def test_an_institute_changes_to_no_charter_that_names(stage, what):
    root = stage.eve.ours.root
    text = charter(stage, "gfz", root, **CHARTERS[what](stage))
    refused(stage, stage.eve.credentials, "lb.rotate", charter=text)


@pytest.mark.usefixtures("register")
@pytest.mark.parametrize("name", ["awi", "gfz", "lb", "local", "id", "*", ">", "u.fz", "ufz\n", "аwi", "ufz\u202e"])
def test_an_invitation_of_an_institute_is_good_for_no_other_name(stage, name):
    invitation = stage.invite_institute("ufz")
    refused(stage, invitation.credentials, "lb.join", charter=charter(stage, name, fresh()))


def test_an_institute_that_came_first_is_not_replaced_with_an_earlier_invitation(stage):
    first, second, root = stage.invite_institute("ipf"), stage.invite_institute("ipf"), fresh()
    assert stage.ask(first.credentials, "lb.join", charter=charter(stage, "ipf", root))["institute"] == "ipf"
    said = "there is an institute of this name"
    refused(stage, second.credentials, "lb.join", said, charter=charter(stage, "ipf", fresh()))
    assert stage.keys.partners.joined["ipf"].charter.root == root.public


def test_who_may_changes_the_keys_of_an_institute(stage):
    before = stage.keys.partners.joined["gfz"].charter
    with stage.eve.acting():
        replace_keys(stage.eve.ours, keep_s=30 * 24 * 3600, now=now())
    after = stage.keys.partners.joined["gfz"].charter
    assert (after.root, after.at > before.at, after.keys != before.keys) == (before.root, True, True)
    stage.anna.tap()  # whose credential is one of before


def resigned(text, root, keep_s):
    """Return a charter of the same keys that says something else of those before, signed by somebody."""
    said = read_charter(text)
    return sign_charter(said.network, said.institute, said.keys, root, at=now() + 5, replaced_until=now() + keep_s)


ROTATIONS = {
    "a charter that he has signed": lambda stage: charter(stage, "gfz", fresh()),
    "the charter of now, with a word of his own on when the keys before end": lambda stage: resigned(
        public_charter(stage, "gfz"), fresh(), 0
    ),
    "the charter of awi": lambda stage: public_charter(stage, "awi"),
    "a charter for awi that he has signed": lambda stage: charter(stage, "awi", fresh()),
    "a charter for awi that eve has signed": lambda stage: charter(stage, "awi", stage.eve.ours.root),
    "an older charter that eve has signed": lambda stage: charter(stage, "gfz", stage.eve.ours.root, at=1),
    "a charter of another network": lambda stage: sign_charter(
        fresh().public, "gfz", {role: fresh().public for role in ROLES}, stage.eve.ours.root, at=now()
    ),
    "nothing": lambda stage: "",
}


@pytest.mark.usefixtures("register", "unharmed")
def test_a_person_of_an_institute_changes_nothing_with_the_charter_of_now_alone(stage):
    anna = stage.anna.tap()
    stage.ask(stage.mallory.credentials, "lb.rotate", charter=public_charter(stage, "gfz"))
    anna.flush()
    anna.close()


@pytest.mark.usefixtures("register", "unharmed")
@pytest.mark.parametrize("what", ROTATIONS)
def test_a_person_of_an_institute_does_not_change_its_keys_with(stage, what):
    # Follows the one above, so that there are keys from before, by which anna is here.
    anna = stage.anna.tap()
    refused(stage, stage.mallory.credentials, "lb.rotate", charter=ROTATIONS[what](stage))
    anna.flush()
    anna.close()


def test_a_person_of_an_institute_does_not_keep_it_from_shutting_them_out_by_asking_often(stage):
    nora = stage.person(stage.eve, "nora")
    live, told = nora.tap(), stage.site.up.stderr.count("gfz has changed its keys")
    for _ in range(70):  # more often than an institute may change something
        stage.ask(nora.credentials, "lb.rotate", charter=public_charter(stage, "gfz"))
    refused(stage, nora.credentials, "lb.revoke", revocation="")
    shut(stage, stage.eve, "nora")
    assert "User Authentication Revoked" in live.wait_until_cut()
    assert stage.site.up.stderr.count("gfz has changed its keys") == told


@pytest.mark.usefixtures("register")
@pytest.mark.parametrize("who", ["mallory", "eve"])
def test_the_keys_of_awi_are_not_changed_by(stage, who):
    text = charter(stage, "awi", stage.awi.ours.root)
    # Even what its root key has signed is taken from its own people only.
    credentials = getattr(stage, who).credentials
    refused(stage, credentials, "lb.rotate", "cannot change the keys of awi", charter=text)


# Revocations


def revocation(stage, institute, root, *proofs):
    return sign_revocation(stage.keys.net.public, institute, dict.fromkeys(proofs, now() + 3600), root)


def network_proof(stage, institute, person, key):
    return member_proof(stage.keys.net.public, institute, person, key)


def forged_proof(stage):
    """Bob's key as a member of gfz, signed by eve as if it were his."""
    said = {"network": stage.keys.net.public, "institute": "gfz", "person": "bob"}
    return sign_statement("member", said, KeyPair(stage.bob.key.public, stage.eve.key.seed))


REVOCATIONS = {
    "bob, by the name of his key": ("eve", lambda s: revocation(s, "gfz", s.eve.ours.root, s.bob.key.public)),
    "bob, by a proof that she has signed": ("eve", lambda s: revocation(s, "gfz", s.eve.ours.root, forged_proof(s))),
    "bob, by the proof that he has given awi": (
        "eve",
        lambda s: revocation(s, "gfz", s.eve.ours.root, network_proof(s, "awi", "bob", s.bob.key)),
    ),
    "bob, in the name of awi": (
        "eve",
        lambda s: revocation(s, "awi", s.eve.ours.root, network_proof(s, "awi", "bob", s.bob.key)),
    ),
    "bob, with a revocation that awi has signed": (
        "eve",
        lambda s: revocation(s, "awi", s.awi.ours.root, network_proof(s, "awi", "bob", s.bob.key)),
    ),
    "anna, as a person of gfz": (
        "mallory",
        lambda s: revocation(s, "gfz", fresh(), network_proof(s, "gfz", "anna", s.anna.key)),
    ),
    "everybody": ("eve", lambda s: revocation(s, "gfz", s.eve.ours.root, "*")),
    "more than there may be": (
        "eve",
        lambda s: revocation(s, "gfz", s.eve.ours.root, *(str(number) for number in range(MOST_REVOKED + 1))),
    ),
}


@pytest.mark.usefixtures("register", "unharmed")
@pytest.mark.parametrize("whom", REVOCATIONS)
def test_nobody_shuts_out(stage, whom):
    who, made = REVOCATIONS[whom]
    bob, anna = stage.bob.tap(), stage.anna.tap()
    refused(stage, getattr(stage, who).credentials, "lb.revoke", revocation=made(stage))
    for tap in (bob, anna):
        tap.flush()
        assert tap.refusals == []
        tap.close()


def test_who_was_shut_out_is_not_let_in_by_another_institute_that_shuts_them_out_for_a_moment(stage):
    bert = stage.person(stage.awi, "bert")
    live = bert.tap()
    shut(stage, stage.awi, "bert")
    assert "User Authentication Revoked" in live.wait_until_cut()
    # Bert has his key, so he can say that it is one of gfz's, too, and eve that it is void until in a moment.
    network = stage.keys.net.public
    proof, ends = network_proof(stage, "gfz", "bert", bert.key), now() + 2
    stage.ask(
        stage.eve.credentials,
        "lb.revoke",
        revocation=sign_revocation(network, "gfz", {proof: ends}, stage.eve.ours.root),
    )
    clock = stage.eve.tap_of(stage.eve.forge("clock", lifetime_s=3))
    clock.wait_until_cut()  # the moment is over
    rita = stage.person(stage.eve, "rita")
    shut(stage, stage.eve, "rita")  # by which the broker is told of who is shut out, anew
    for gone in (bert, rita):
        with pytest.raises(Refused):
            gone.tap()
    assert bert.key.public in stage.keys.partners.void_keys(now())


# Issuers


RENEWALS = {
    "anna's, with her proof": ("mallory", "gfz", lambda s: s.eve.ours.proof("anna", s.anna.key)),
    "anna's, with a key of his": ("mallory", "gfz", lambda s: s.eve.ours.proof("anna", s.mallory.key)),
    "his own, with a key that nobody knows": ("mallory", "gfz", lambda s: s.eve.ours.proof("mallory", fresh("user"))),
    "his own, with anna's key": ("mallory", "gfz", lambda s: s.eve.ours.proof("mallory", s.anna.key)),
    "bob's, at gfz": ("mallory", "gfz", lambda s: s.awi.ours.proof("bob", s.bob.key)),
    "bob's, at awi": ("mallory", "awi", lambda s: s.awi.ours.proof("bob", s.bob.key)),
    "bob's, as his colleague": ("colin", "awi", lambda s: s.awi.ours.proof("bob", s.bob.key)),
    "that of a service": ("mallory", "gfz", lambda s: s.eve.ours.proof("_M", s.mallory.key)),
    "with no proof": ("mallory", "gfz", lambda s: "x.y"),
}


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize("what", RENEWALS)
def test_nobody_has_the_credential_of_another_renewed(stage, what):
    who, issuer, proof = RENEWALS[what]
    refused(stage, getattr(stage, who).credentials, f"{issuer}.renew", proof=proof(stage))


def test_everybody_has_their_own_credential_renewed_even_when_all_else_has_expired(stage):
    for credentials in (stage.mallory.credentials, stage.mallory.enrolled):
        given = stage.ask(credentials, "gfz.renew", proof=stage.eve.ours.proof("mallory", stage.mallory.key))
        again = Credentials(given["work"], stage.mallory.key.seed)
        assert (again.name, again.modules) == ("mallory", ("mallory",))


@pytest.mark.parametrize(
    ("who", "issuer", "module"),
    [
        ("mallory", "gfz", "anna"),
        ("mallory", "gfz", "ocean"),
        ("mallory", "gfz", "id"),
        ("mallory", "awi", "stats"),
        ("mallory", "awi", "mallory"),
        ("colin", "awi", "stats"),
        ("colin", "awi", "bob"),
        ("mallory", "gfz", "*"),
        ("mallory", "gfz", "mallory\n"),
        ("mallory", "gfz", "mаllory"),  # a Cyrillic а
    ],
)
def test_no_issuer_vouches_for_a_module_that_is_not_of_who_asks(stage, who, issuer, module):
    with pytest.raises(lb.PermissionDenied) as caught:
        stage.ask(getattr(stage, who).credentials, f"{issuer}.attest", module=module, key=fresh("user").public)
    assert "eyJ" not in str(caught.value)  # no word of it


def test_an_issuer_vouches_for_the_module_of_who_asks(stage):
    key, network = fresh("user").public, stage.keys.net.public
    word = stage.ask(stage.mallory.credentials, "gfz.attest", module="mallory", key=key)
    assert check_module_key(word, network, "gfz", "mallory", now=now())[:2] == (stage.eve.ours.root.public, key)
    for institute, module in (("gfz", "anna"), ("awi", "mallory"), ("awi", "stats")):
        with pytest.raises(lb.PermissionDenied):
            check_module_key(word, network, institute, module, now=now())


def test_a_member_whose_time_is_over_is_not_renewed(stage):
    brief = stage.person(stage.eve, "brief", lasts_s=3)
    live, key = brief.tap(), brief.key
    assert "User Authentication Expired" in live.wait_until_cut()
    for credentials in (brief.credentials, brief.enrolled):
        stays_out(brief, credentials)
    # Nor when eve has left something with them that is good for longer.
    ours = stage.eve.ours
    longer = Credentials(ours.credential(key.public, "brief", (), until=now() + 60, now=now(), role="enrol"), key.seed)
    refused(stage, longer, "gfz.renew", "has reached the end", proof=ours.proof("brief", key))
    refused(stage, longer, "gfz.attest", module="brief", key=fresh("user").public)


@pytest.mark.parametrize(
    "wanted",
    [
        "publish lb.call.gfz.mallory.awi.stats.hello",
        "publish lb.call.gfz.mallory.awi.id.renew",
        "publish lb.call.gfz.anna.gfz.id.renew",
        "publish lb.ctl.gfz.mallory.awi.stats." + "0" * 32 + ".call." + "0" * 32 + ".message",
        "publish _INBOX.awi.bob.c.i.0",
        "publish lb.cat.gfz.mallory",
        "subscribe lb.call.*.*.gfz.mallory.*",
        "subscribe _INBOX.gfz.anna.*.*.*",
        "subscribe lb.cat.*.*",
        "subscribe >",
    ],
)
@pytest.mark.usefixtures("unharmed")
def test_what_a_credential_is_renewed_with_is_good_for_nothing_else(stage, wanted):
    tap = stage.mallory.tap_of(stage.mallory.enrolled)
    verb, subject = wanted.split(" ")
    assert tap.refuses_publish(subject) if verb == "publish" else tap.refuses_subscribe(subject, "lb")
    assert (tap.messages, MARK.encode() in tap.heard) == ([], False)
    assert not tap.refuses_publish("lb.call.gfz.mallory.gfz.id.renew", b"x", tap.inbox("0" * 32))


# Keys by which institutes are known


def test_an_invitation_does_not_change_by_which_key_an_institute_is_known(stage):
    # Anybody can write an invitation that says so, with a broker of their own where it is good.
    network, true = stage.keys.net.public, fingerprint(stage.eve.ours.root.public)
    lured = stage.actor("lured", "gfz")
    with lured.acting():
        know(network, "gfz", true)
    invitation = replace(stage.invite_person(stage.eve, "lured"), root=fresh().public)
    with lured.acting():
        with pytest.raises(lb.IdentityChanged, match="trust gfz"):
            join(invitation.format())
        assert known_institutes()[network]["gfz"] == true
    shut(stage, stage.eve, "lured")


def test_an_invitation_says_by_which_key_an_institute_is_known_that_was_not_known_before(stage):
    newcomer = stage.person(stage.eve, "newcomer")
    with newcomer.acting():
        known = known_institutes()[stage.keys.net.public]
    assert known == {"gfz": fingerprint(stage.eve.ours.root.public)}


def test_who_was_shut_out_is_not_let_in_when_their_institute_goes_and_comes_again_with_its_keys(stage):
    iow, network = stage.institute("iow"), stage.keys.net.public
    gone, stays = iow.forge("gone"), iow.forge("stays")
    live = iow.tap_of(gone)
    proof = member_proof(network, "iow", "gone", KeyPair.from_seed(gone.seed))
    void = sign_revocation(network, "iow", {proof: now() + 600}, iow.ours.root)
    stage.ask(iow.credentials, "lb.revoke", revocation=void)
    assert "User Authentication Revoked" in live.wait_until_cut()
    with stage.operator.acting():
        wait_for(change_keys(local_dir(), lambda keys: keys.remove("iow", now=now()), takes_away=True), 30.0)
    again = stage.invite_institute("iow")
    assert stage.ask(again.credentials, "lb.join", charter=iow.ours.charter_text())["institute"] == "iow"
    iow.tap_of(stays).flush()
    with pytest.raises(Refused):
        iow.tap_of(gone)
