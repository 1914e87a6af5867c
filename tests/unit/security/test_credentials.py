from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import NotConfigured
from landbridge.security import (
    MAX_CREDENTIALS_BYTES,
    Caller,
    Credentials,
    direct_user_jwt,
    new_key,
    operator_jwt,
    user_jwt,
    verify_jwt,
)
from landbridge.security.nkey import verify_signature

ACCOUNT = new_key("account", b"a" * 32)
USER = new_key("user", b"u" * 32)
BOB = Credentials(
    user_jwt(
        USER.public,
        ACCOUNT,
        issuer_account=ACCOUNT.public,
        institute="awi",
        person="bob",
        modules=["stats", "ocean"],
        now=100,
        expires=200,
    ),
    USER.seed,
)


def test_credential_tells_who_it_is_for():
    assert BOB.caller == Caller("awi", "bob")
    assert (BOB.institute, BOB.name, BOB.expires) == ("awi", "bob", 200)
    assert BOB.modules == ("stats", "ocean")
    assert BOB.tags == ("institute:awi", "module:stats", "module:ocean")


def test_neither_token_nor_seed_is_shown():
    for text in (repr(BOB), str(BOB), f"{[BOB]}"):
        assert BOB.seed not in text
        assert BOB.jwt not in text
        assert "awi/bob" in text


def test_signature_is_that_of_the_seed():
    assert verify_signature(USER.public, b"nonce", BOB.sign(b"nonce"))
    assert not verify_signature(USER.public, b"other", BOB.sign(b"nonce"))


def test_file_read_again_gives_the_same_credential():
    assert Credentials.parse(BOB.format()) == BOB
    assert Credentials.parse(BOB.format().replace("\n", "\r\n")) == BOB
    assert pickle.loads(pickle.dumps(BOB)) == BOB


def test_file_of_other_tools_is_read():
    text = f"# comment\n-----BEGIN NATS USER JWT-----\n{BOB.jwt}\n-----END NATS USER JWT-----\n\n"
    text += f"-----BEGIN USER NKEY SEED-----\n{BOB.seed}\n-----END USER NKEY SEED-----\n"
    assert Credentials.parse(text) == BOB


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        BOB.jwt,
        BOB.seed,
        BOB.format().split("***")[0],
        BOB.format().replace(BOB.seed, ""),
        BOB.format().replace(BOB.jwt, "a.b.c"),
        BOB.format().replace(BOB.seed, BOB.seed[:-1] + "A"),
        BOB.format().replace(BOB.seed, new_key("user", bytes(32)).seed),
        "-" * MAX_CREDENTIALS_BYTES,
        BOB.format() + "x" * MAX_CREDENTIALS_BYTES,
    ],
    ids=range(11),
)
def test_file_that_holds_no_whole_credential_is_refused_without_showing_it(text):
    with pytest.raises(NotConfigured) as caught:
        Credentials.parse(text)
    assert BOB.seed not in str(caught.value)
    assert BOB.jwt not in str(caught.value)


@given(st.text(max_size=300))
def test_any_text_is_refused_with_our_error(text):
    with pytest.raises(NotConfigured):
        Credentials.parse(text)


def test_token_that_is_not_a_users_is_refused():
    operator = new_key("operator", bytes(32))
    token = operator_jwt(operator, name="x", system_account=ACCOUNT.public, now=1)
    with pytest.raises(NotConfigured, match="not that of a user"):
        Credentials(token, operator.seed)


def test_credential_of_the_operators_own_user_names_no_institute():
    token = direct_user_jwt(USER.public, ACCOUNT, name="keeper", publish=["a"], subscribe=["b"], now=1)
    keeper = Credentials(token, USER.seed)
    assert (keeper.institute, keeper.expires, keeper.modules) == (None, None, ())
    with pytest.raises(NotConfigured, match="no institute"):
        _ = keeper.caller


def test_issuer_of_a_credential_can_be_checked():
    assert verify_jwt(BOB.jwt, issuers={ACCOUNT.public})["name"] == "bob"
