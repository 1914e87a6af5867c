from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import InvalidName, LandbridgeError, Malformed, NotConfigured, PermissionDenied, TooLarge
from landbridge.security import (
    MAX_JWT_BYTES,
    ROLES,
    KeyPair,
    account_jwt,
    decode_jwt,
    direct_user_jwt,
    encode_jwt,
    new_key,
    operator_jwt,
    scope,
    user_jwt,
    verify_jwt,
)

OPERATOR = new_key("operator", b"o" * 32)
ACCOUNT = new_key("account", b"a" * 32)
SIGNING = new_key("account", b"s" * 32)
USER = new_key("user", b"u" * 32)


def person(**changes):
    known = {"issuer_account": ACCOUNT.public, "institute": "awi", "person": "bob", "now": 100, "expires": 200}
    return user_jwt(USER.public, SIGNING, **{**known, **changes})


def account(*signing_keys, **changes):
    return account_jwt(ACCOUNT.public, OPERATOR, name="net", now=100, signing_keys=signing_keys, **changes)


def forge(header, claims, signature=b"x" * 64):
    def part(raw):
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    return ".".join((part(header), part(claims), part(signature)))


HEADER = b'{"typ":"JWT","alg":"ed25519-nkey"}'


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["operator", "account", "user"]))
def test_key_from_the_same_bytes_is_the_same_and_survives_its_seed(entropy, kind):
    pair = new_key(kind, entropy)
    assert pair == new_key(kind, entropy) == KeyPair.from_seed(pair.seed)
    assert pair.kind == kind
    assert len(pair.sign(b"data")) == 64


def test_key_needs_exactly_32_bytes():
    with pytest.raises(ValueError, match="32"):
        new_key("user", bytes(31))


def test_repr_of_a_key_does_not_show_its_seed():
    assert USER.seed not in repr(USER)
    assert USER.public in repr(USER)


@given(st.integers(0, 57), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_damaged_seed_is_refused_and_not_shown(place, letter):
    damaged = USER.seed[:place] + letter + USER.seed[place + 1 :]
    if damaged == USER.seed:
        return
    with pytest.raises(NotConfigured) as caught:
        KeyPair.from_seed(damaged)
    assert damaged[4:] not in str(caught.value)


@pytest.mark.parametrize("seed", ["", "SU", "x" * 58, USER.public, USER.seed + "A", USER.seed.lower(), "é" * 58])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(NotConfigured):
        KeyPair.from_seed(seed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_decoding_gives_what_was_encoded(content):
    claims = {**content, "iss": OPERATOR.public}
    try:
        token = encode_jwt(claims, OPERATOR.seed)
    except NotConfigured:
        return  # a forbidden name came up
    assert decode_jwt(token) == claims
    assert verify_jwt(token, issuers=[OPERATOR.public]) == claims


def test_user_token_has_exactly_the_fields_that_a_scoped_key_may_sign():
    claims = decode_jwt(person(modules=["stats", "ocean", "stats"], jti="id"))
    assert claims == {
        "iss": SIGNING.public,
        "sub": USER.public,
        "name": "bob",
        "iat": 100,
        "exp": 200,
        "jti": "id",
        "nats": {
            "type": "user",
            "version": 2,
            "issuer_account": ACCOUNT.public,
            "tags": ["institute:awi", "module:stats", "module:ocean"],
        },
    }


def test_operator_token_is_signed_by_itself_and_names_the_system_account():
    token = operator_jwt(OPERATOR, name="net", system_account=ACCOUNT.public, now=100)
    claims = verify_jwt(token, issuers=[OPERATOR.public])
    assert claims["sub"] == OPERATOR.public
    assert claims["nats"] == {"type": "operator", "version": 2, "system_account": ACCOUNT.public}


def test_account_may_store_nothing_unless_said():
    assert "disk_storage" not in decode_jwt(account())["nats"]["limits"]
    assert decode_jwt(account(jetstream=True))["nats"]["limits"]["disk_storage"] == -1


def test_same_claims_give_the_same_token_and_others_another_id():
    assert account() == account()
    first, second = decode_jwt(account()), decode_jwt(account(revocations={USER.public: 1}))
    assert first["jti"] != second["jti"]


@pytest.mark.parametrize("role", ROLES)
def test_scopes_of_all_roles_may_be_signed(role):
    token = account(scope(role, "awi", SIGNING.public))
    assert decode_jwt(token)["nats"]["signing_keys"][0]["role"] == f"awi-{role}"


@pytest.mark.parametrize(
    "signing_key",
    [
        SIGNING.public,
        {"kind": "user_scope", "key": SIGNING.public},
        {"kind": "user_scope", "key": SIGNING.public, "template": {}},
        {"kind": "user_scope", "key": SIGNING.public, "template": {"pub": {"allow": ["a"]}}},
        {"kind": "user_scope", "key": SIGNING.public, "template": {"pub": {"allow": []}, "sub": {"allow": ["a"]}}},
        {"kind": "user_scope", "key": SIGNING.public, "template": {"pub": {"deny": ["a"]}, "sub": {"allow": ["a"]}}},
        {**scope("person", "awi", SIGNING.public), "kind": "other"},
    ],
    ids=str,
)
def test_signing_key_that_is_not_kept_within_a_scope_is_refused(signing_key):
    with pytest.raises(NotConfigured, match="Refused"):
        account(scope("person", "gfz", SIGNING.public), signing_key)


@pytest.mark.parametrize("name", ["signing_keys", "Signing_Keys", "\u017figning_keys"])
def test_plain_signing_key_is_refused_however_its_field_is_written(name):
    claims = {"iss": OPERATOR.public, "nats": {"type": "account", name: [SIGNING.public]}}
    with pytest.raises(NotConfigured, match="plain signing key"):
        encode_jwt(claims, OPERATOR.seed)


@pytest.mark.parametrize(
    "field", ["resp", "Resp", "allow_responses", "bearer_token", "Bearer_Token", "BEARER_TO\u212aEN"]
)
def test_dangerous_field_is_refused_at_any_depth(field):
    dangerous = scope("serve", "awi", SIGNING.public)
    dangerous["template"][field] = True
    with pytest.raises(NotConfigured, match="Refused"):
        account(dangerous)
    with pytest.raises(NotConfigured, match="Refused"):
        encode_jwt({"iss": SIGNING.public, "nats": {"type": "user", field: True}}, SIGNING.seed)


@pytest.mark.parametrize("name", ["*", ">", "a.b", "", "Bob", "bob ", "bob\n", "é", "{{name()}}", "_X", "x" * 64, None])
def test_bad_name_is_never_signed(name):
    for field in ("person", "institute"):
        with pytest.raises(InvalidName):
            person(**{field: name})
    with pytest.raises(InvalidName):
        person(modules=["stats", name])


def test_service_person_of_an_institute_may_be_issued():
    assert decode_jwt(person(person="_M"))["name"] == "_M"


def test_credential_for_more_modules_than_a_server_reads_is_refused():
    with pytest.raises(TooLarge, match="second one"):
        person(modules=[f"{number:a<50}".replace("0", "z") for number in map("m{}".format, range(100))])


def test_key_of_another_kind_is_refused():
    with pytest.raises(NotConfigured, match="kind"):
        account_jwt(USER.public, OPERATOR, name="net", now=1)
    with pytest.raises(NotConfigured, match="kind"):
        account_jwt(ACCOUNT.public, SIGNING, name="net", now=1)
    with pytest.raises(NotConfigured, match="kind"):
        user_jwt(
            ACCOUNT.public, SIGNING, issuer_account=ACCOUNT.public, institute="awi", person="bob", now=1, expires=2
        )
    with pytest.raises(NotConfigured, match="kind"):
        operator_jwt(OPERATOR, name="net", system_account=USER.public, now=1)


def test_direct_user_without_a_list_of_subjects_is_refused():
    with pytest.raises(NotConfigured, match="means all"):
        direct_user_jwt(USER.public, ACCOUNT, name="keeper", publish=[], subscribe=["_INBOX.>"], now=1)


def test_claims_that_name_another_issuer_are_not_signed():
    with pytest.raises(NotConfigured, match="issuer"):
        encode_jwt({"iss": ACCOUNT.public}, OPERATOR.seed)


def test_token_of_an_issuer_that_is_not_accepted_is_refused():
    with pytest.raises(PermissionDenied, match="none of the accepted"):
        verify_jwt(person(), issuers=[ACCOUNT.public])


def test_token_changed_after_signing_is_refused():
    ours, theirs = person(person="bob").split("."), person(person="eve").split(".")
    with pytest.raises(PermissionDenied, match="changed or forged"):
        verify_jwt(f"{ours[0]}.{theirs[1]}.{ours[2]}", issuers=[SIGNING.public])


@pytest.mark.parametrize("length", [0, 1, 63, 65])
def test_signature_of_another_length_is_refused(length):
    head = person().rpartition(".")[0]
    signature = base64.urlsafe_b64encode(b"x" * length).decode().rstrip("=")
    with pytest.raises((PermissionDenied, Malformed)):
        verify_jwt(f"{head}.{signature}", issuers=[SIGNING.public])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a.b.c.d",
        "..",
        "é.é.é",
        b"\xff.\xff.\xff",
        "a+b/.x.y",
        forge(b'{"typ":"JWT","alg":"none"}', b"{}"),
        forge(b'{"typ":"JWT","alg":"ed25519"}', b"{}"),
        forge(b"[]", b"{}"),
        forge(HEADER, b"[]"),
        forge(HEADER, b"1"),
        forge(HEADER, b"\xff"),
        forge(HEADER, b'{"a":NaN}'),
        forge(HEADER, b'{"iss":"A","iss":"B"}'),
        forge(HEADER, b"[" * 100_000),
        forge(HEADER, b'{"a":' + b"9" * 10_000 + b"}"),
    ],
    ids=range(17),
)
def test_what_is_no_token_is_refused(text):
    with pytest.raises(Malformed):
        decode_jwt(text)


def test_endless_token_is_refused_before_it_is_looked_at():
    with pytest.raises(TooLarge):
        decode_jwt("a" * (MAX_JWT_BYTES + 1))


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_decoded_or_refused_with_our_error(text):
    with pytest.raises(LandbridgeError):
        decode_jwt(text)


@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(["iss", "sub", "nats"]), json_values))
def test_no_made_up_token_is_believed(signature, claims):
    with pytest.raises(LandbridgeError):
        verify_jwt(forge(HEADER, json.dumps(claims).encode(), signature or b"x"), issuers=[SIGNING.public])
