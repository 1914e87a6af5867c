"""Tokens that nobody should have been able to make, or that are no longer good, at a real server."""

from __future__ import annotations

import secrets
import time

import pytest

from integration.identity.attacker import RawClient, Refused
from landbridge.security import Credentials, account_jwt, decode_jwt, encode_jwt, new_key, scope, user_jwt


def fresh(kind="user"):
    return new_key(kind, secrets.token_bytes(32))


def personal(network, signing_key, user, **changes):
    now = int(time.time())
    known = {"institute": "gfz", "person": "eve", "issuer_account": network.keys.net.public}
    return user_jwt(user.public, signing_key, **{**known, "now": now, "expires": now + 60, **changes})


def gfz(network, role="person"):
    return network.keys.institutes["gfz"][role]


def with_nats(token, signing_key, **fields):
    """Return the token with more fields in its NATS part, signed again by the same key."""
    claims = decode_jwt(token)
    claims["nats"] |= fields
    claims["jti"] = secrets.token_hex(8)
    return encode_jwt(claims, signing_key.seed)


def test_token_as_issued_is_accepted(network):
    user = fresh()
    RawClient(network.url, personal(network, gfz(network), user), user.seed).close()


@pytest.mark.parametrize(
    "fields",
    [
        {"pub": {"allow": [">"]}},
        {"Pub": {"allow": [">"]}},
        {"sub": {"allow": [">"]}},
        {"pub": {"deny": ["nothing"]}},
        {"subs": -1, "data": -1, "payload": -1},
        {"payload": 8 << 20},
        {"allowed_connection_types": ["LEAFNODE"]},
    ],
    ids=str,
)
def test_institute_cannot_add_permissions_to_a_scoped_token(network, fields):
    user, key = fresh(), gfz(network)
    token = with_nats(personal(network, key, user), key, **fields)
    with pytest.raises(Refused, match="Authorization"):
        RawClient(network.url, token, user.seed)


def test_expired_token_is_refused(network):
    user, now = fresh(), int(time.time())
    token = personal(network, gfz(network), user, now=now - 100, expires=now - 10)
    with pytest.raises(Refused):
        RawClient(network.url, token, user.seed)


@pytest.mark.parametrize("account", ["net", "system", "jobs", "own"])
def test_token_signed_by_a_key_the_network_does_not_know_is_refused(network, account):
    user, key = fresh(), fresh("account")
    issuer_account = key.public if account == "own" else getattr(network.keys, account).public
    with pytest.raises(Refused):
        RawClient(network.url, personal(network, key, user, issuer_account=issuer_account), user.seed)


@pytest.mark.parametrize("account", ["system", "jobs"])
def test_institute_cannot_reach_the_operators_accounts(network, account):
    user = fresh()
    token = personal(network, gfz(network), user, issuer_account=getattr(network.keys, account).public)
    with pytest.raises(Refused):
        RawClient(network.url, token, user.seed)


def test_token_changed_after_signing_is_refused(network):
    user = fresh()
    ours = personal(network, gfz(network), user, person="anna").split(".")
    theirs = personal(network, gfz(network), user, person="eve").split(".")
    with pytest.raises(Refused):
        RawClient(network.url, f"{ours[0]}.{ours[1]}.{theirs[2]}", user.seed)


def test_public_key_of_somebody_else_is_of_no_use_without_the_seed(network):
    bob, eve = network.issue("awi", "bob"), fresh()
    subject = decode_jwt(bob.jwt)["sub"]
    token = personal(network, gfz(network), type(eve)(subject, eve.seed))
    with pytest.raises(Refused):
        RawClient(network.url, token, eve.seed)


def test_stolen_token_is_of_no_use_without_the_seed(network):
    with pytest.raises(Refused):
        RawClient(network.url, network.issue("awi", "bob").jwt, fresh().seed)


def test_leaf_token_is_refused_from_a_client(network):
    user = fresh()
    with pytest.raises(Refused):
        RawClient(network.url, personal(network, gfz(network, "leaf"), user), user.seed)


def test_enrol_token_can_only_ask_for_renewal(network):
    user = fresh()
    client = RawClient(network.url, personal(network, gfz(network, "enrol"), user), user.seed)
    try:
        assert not client.refuses_publish("lb.call.gfz.eve.gfz.id.renew", reply="_INBOX.gfz.eve.c.i.0")
        assert client.refuses_publish("lb.call.gfz.eve.awi.stats.mean")
        assert client.refuses_publish("lb.call.gfz.eve.gfz.ids.renew")
        assert client.refuses_publish("lb.call.gfz.bob.gfz.id.renew")
        assert client.refuses_subscribe("lb.cat.*.*")
    finally:
        client.close()


def test_serving_key_without_a_module_serves_nothing(network):
    user = fresh()
    client = RawClient(network.url, personal(network, gfz(network, "serve"), user), user.seed)
    try:
        assert client.refuses_subscribe("lb.call.*.*.gfz.>")
        assert client.refuses_subscribe("lb.call.*.*.gfz.ocean.>")
        assert client.refuses_publish("lb.cat.gfz.ocean")
    finally:
        client.close()


@pytest.mark.parametrize("name", ["*", ">", "a.b", "*.*", "", "awi.bob", "{{subject()}}"])
def test_bad_name_signed_without_our_checks_stays_inside_its_institute(network, name):
    # An institute may run another issuer than ours; the templates must hold alone.
    user, key = fresh(), gfz(network, "serve")
    claims = decode_jwt(personal(network, key, user, modules=["ocean"]))
    claims["name"] = name
    claims["nats"]["tags"] = [f"module:{name}"]
    client = RawClient(network.url, encode_jwt(claims, key.seed), user.seed)
    try:
        for subject in (
            "lb.call.awi.bob.awi.stats.mean",
            "lb.call.*.*.awi.stats.mean",
            "lb.cat.awi.stats",
            "$JS.API.INFO",
        ):
            assert client.refuses_publish(subject)
        for subject in (">", "lb.call.>", "lb.call.*.*.awi.>", "_INBOX.>", "_INBOX.awi.>", "_INBOX.*.*.*.*.*"):
            assert client.refuses_subscribe(subject)
    finally:
        client.close()


def test_signing_key_in_an_account_token_of_an_institute_opens_nothing(own_network):
    # Pushed with the operator's own right, the worst case: the server stores it, then lets nobody in by it.
    mine, user, key = fresh("account"), fresh(), gfz(own_network)
    claims = decode_jwt(
        account_jwt(
            own_network.keys.net.public,
            fresh("operator"),
            name="net",
            now=int(time.time()) + 10,
            signing_keys=[scope("person", "awi", mine.public)],
        )
    )
    system = own_network.client_of(own_network.keys.system_user_credentials())
    system.subscribe("_INBOX.answer")
    system.publish(
        "$SYS.REQ.CLAIMS.UPDATE", encode_jwt({**claims, "iss": key.public}, key.seed).encode(), reply="_INBOX.answer"
    )
    system.wait_for_message()
    with pytest.raises(Refused):
        RawClient(own_network.url, personal(own_network, mine, user, institute="awi", person="bob"), user.seed)


def test_credential_survives_being_written_and_read(network):
    again = Credentials.parse(network.issue("awi", "bob", "stats").format())
    client = network.client_of(again)
    assert not client.refuses_publish("lb.cat.awi.stats")
