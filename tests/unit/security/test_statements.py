"""Signed statements: nobody else's, none of another kind, nothing changed on the way."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import LandbridgeError, NotConfigured, PermissionDenied
from landbridge.security import (
    MOST_REVOKED,
    Credentials,
    Invitation,
    attest_module,
    check_module_key,
    description_proof,
    fingerprint,
    is_invitation,
    member_proof,
    new_key,
    proven_root,
    read_charter,
    read_member_proof,
    read_revocation,
    read_statement,
    sign_charter,
    sign_revocation,
    sign_statement,
    user_jwt,
)
from landbridge.security.statements import LONGEST_STATEMENT


def key(kind, number):
    return new_key(kind, bytes(31) + bytes([number]))


NETWORK, OTHER = key("account", 0).public, key("account", 100).public
ROOT, OTHER_ROOT = key("account", 1), key("account", 2)
ANNA, MODULE = key("user", 3), key("user", 4)
KEYS = {role: key("account", 10 + place).public for place, role in enumerate(("person", "serve", "enrol", "leaf"))}


def charter(root=ROOT, **changes):
    given = {"network": NETWORK, "institute": "gfz", "keys": KEYS, **changes}
    at, until = changes.get("at", 5), changes.get("replaced_until", 0)
    return sign_charter(given["network"], given["institute"], given["keys"], root, at=at, replaced_until=until)


def test_a_statement_is_read_as_it_was_signed_and_by_whom():
    text = sign_statement("test", {"a": [1, "ü", None]}, ANNA)
    assert read_statement("test", text, by=ANNA.public) == {"a": [1, "ü", None], "kind": "test", "by": ANNA.public}
    for kind, by in (("other", None), ("test", MODULE.public)):
        with pytest.raises(PermissionDenied, match="A statement was refused"):
            read_statement(kind, text, by=by)


def test_what_a_statement_says_of_kind_and_signer_is_not_the_sayers_choice():
    text = sign_statement("test", {"kind": "charter", "by": ROOT.public}, ANNA)
    assert read_statement("test", text)["by"] == ANNA.public


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_statement_that_was_changed_anywhere_is_refused(place, value):
    text = sign_statement("test", {"a": 1}, ANNA).encode()
    changed = text[: place % len(text)] + bytes([value]) + text[place % len(text) + 1 :]
    try:
        assert read_statement("test", changed.decode("latin-1"), by=ANNA.public)["a"] == 1
    except PermissionDenied:
        return
    # The last character of a part has bits that mean nothing; all others are as they were.
    assert changed == text or base64_of(changed) == base64_of(text)


def base64_of(text):
    return [base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in text.split(b".")]


@given(st.text(max_size=200))
def test_any_text_is_refused_with_an_error_of_ours(text):
    for read in (
        lambda: read_statement("test", text),
        lambda: read_charter(text),
        lambda: read_member_proof(text, NETWORK, "gfz"),
        lambda: read_revocation(text, NETWORK, "gfz", ROOT.public),
        lambda: check_module_key(text, NETWORK, "gfz", "ocean", now=1),
        lambda: Invitation.parse(text),
    ):
        with pytest.raises(LandbridgeError):
            read()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["network", "institute", "keys", "at", "person", "members", "key", "module", "until"]), JSON
    )
)
def test_signed_nonsense_is_refused_with_an_error_of_ours(said):
    for kind, read in (
        ("charter", read_charter),
        ("member", lambda text: read_member_proof(text, NETWORK, "gfz")),
        ("revocation", lambda text: read_revocation(text, NETWORK, "gfz", ROOT.public)),
        ("module", lambda text: check_module_key(text, NETWORK, "gfz", "ocean", now=1)),
    ):
        with pytest.raises(PermissionDenied):
            read(sign_statement(kind, said, ROOT))


def test_a_statement_longer_than_any_of_ours_is_not_even_decoded():
    with pytest.raises(PermissionDenied):
        read_statement("test", "A" * (LONGEST_STATEMENT + 1))
    text = sign_statement("test", {"a": "x" * LONGEST_STATEMENT}, ANNA)
    with pytest.raises(PermissionDenied):
        read_statement("test", text, by=ANNA.public)


def test_a_charter_says_who_signs_the_people_of_an_institute():
    read = read_charter(charter())
    assert (read.network, read.institute, read.root, dict(read.keys), read.at) == (NETWORK, "gfz", ROOT.public, KEYS, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"institute": "lb"},
        {"institute": "*"},
        {"institute": "gfz\n"},
        {"institute": "gfz.x"},
        {"network": ANNA.public},
        {"network": "x"},
        {"keys": {}},
        {"keys": {**KEYS, "leaf": KEYS["person"]}},
        {"keys": {**KEYS, "leaf": ROOT.public}},
        {"keys": {**KEYS, "leaf": ANNA.public}},
        {"keys": {**KEYS, "leaf": None}},
        {"at": -1},
        {"at": True},
        {"at": 2**70},
        {"at": 1.5},
        {"replaced_until": -1},
        {"replaced_until": "x"},
    ],
)
def test_a_charter_that_says_something_else_is_refused(changes):
    with pytest.raises(PermissionDenied, match="charter"):
        read_charter(charter(**changes))


def test_a_member_is_one_of_the_institute_and_network_that_the_statement_names_only():
    proof = member_proof(NETWORK, "gfz", "anna", ANNA)
    assert read_member_proof(proof, NETWORK, "gfz") == ("anna", ANNA.public)
    for network, institute in ((OTHER, "gfz"), (NETWORK, "awi")):
        with pytest.raises(PermissionDenied):
            read_member_proof(proof, network, institute)
    for name in ("_M", "*", "a.b", "Anna", "_I" + "0" * 32):
        with pytest.raises(PermissionDenied):
            read_member_proof(member_proof(NETWORK, "gfz", name, ANNA), NETWORK, "gfz")


def test_an_institute_revokes_only_keys_whose_holders_have_said_that_they_are_its_members():
    proof = member_proof(NETWORK, "gfz", "anna", ANNA)
    revocation = sign_revocation(NETWORK, "gfz", {proof: 9}, ROOT)
    assert read_revocation(revocation, NETWORK, "gfz", ROOT.public) == {ANNA.public: 9}
    bob = member_proof(NETWORK, "awi", "bob", key("user", 9))
    forged = member_proof(NETWORK, "gfz", "bob", key("user", 8)).replace(".", ".A")
    for text, root in (
        (sign_revocation(NETWORK, "gfz", {bob: 9}, ROOT), ROOT),
        (sign_revocation(NETWORK, "gfz", {forged: 9}, ROOT), ROOT),
        (sign_revocation(NETWORK, "gfz", {key("user", 9).public: 9}, ROOT), ROOT),
        (sign_revocation(NETWORK, "awi", {proof: 9}, ROOT), ROOT),
        (sign_revocation(OTHER, "gfz", {proof: 9}, ROOT), ROOT),
        (revocation, OTHER_ROOT),
        (sign_revocation(NETWORK, "gfz", {str(number): 9 for number in range(MOST_REVOKED + 1)}, ROOT), ROOT),
    ):
        with pytest.raises(PermissionDenied):
            read_revocation(text, NETWORK, "gfz", root.public)


def test_as_many_keys_as_may_be_revoked_at_once_fit_into_a_statement():
    proofs = {member_proof(NETWORK, "g" * 63, "a" * 63, key("user", number)): 2**39 for number in range(MOST_REVOKED)}
    text = sign_revocation(NETWORK, "g" * 63, proofs, ROOT)
    assert len(read_revocation(text, NETWORK, "g" * 63, ROOT.public)) == MOST_REVOKED


def test_a_module_proves_what_it_says_to_whom_it_says_it_and_only_once():
    word = attest_module(NETWORK, "gfz", "ocean", MODULE.public, ROOT, until=100)
    said = '{"name": "gfz/ocean", "doc": "ü"}'
    proof = description_proof(said, to="awi/anna", nonce="1" * 32, word=word, key=MODULE)
    asked = {
        "network": NETWORK, "institute": "gfz", "module": "ocean", "to": "awi/anna", "nonce": "1" * 32, "now": 99.0,
    }  # fmt: skip
    assert proven_root(said, proof, **asked) == ROOT.public
    wrong = [
        {"network": OTHER}, {"institute": "awi"}, {"module": "waves"}, {"to": "awi/bob"}, {"nonce": "2" * 32},
        {"now": 100.0},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(PermissionDenied):
            proven_root(said, proof, **{**asked, **change})
    others = [
        None, {}, [], "x", {"word": word}, {**proof, "word": None}, {**proof, "proof": proof["word"]},
        {**proof, "proof": description_proof(said, to="awi/anna", nonce="1" * 32, word=word, key=ANNA)["proof"]},
        {**proof, "word": attest_module(NETWORK, "gfz", "ocean", ANNA.public, ROOT, until=100)},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(PermissionDenied):
            proven_root(said, other, **asked)
    for other in ("", said + " ", said.replace("ü", "u"), "\ud800"):
        with pytest.raises(PermissionDenied):
            proven_root(other, proof, **asked)


def test_a_fingerprint_is_short_and_another_for_each_key():
    prints = {fingerprint(key("account", number).public) for number in range(50)}
    assert len(prints) == 50
    assert all(len(each) == 29 for each in prints)
    with pytest.raises(NotConfigured):
        fingerprint("A" * 55 + "B")


def invitation(person="anna", institute="gfz", issuer="gfz", name="_I" + "a" * 32, root=ROOT.public, **changes):
    user = new_key("user", bytes(32))
    token = user_jwt(
        user.public, key("account", 30), issuer_account=NETWORK, institute=issuer, person=name, now=1, expires=2
    )
    given = {"network": NETWORK, "urls": ("nats://127.0.0.1:4222",), **changes}
    return Invitation(
        given["network"], "Ocean Net", given["urls"], institute, person, Credentials(token, user.seed), root,
        changes.get("ca"),
    )  # fmt: skip


def test_an_invitation_is_read_as_it_was_written():
    for each in (invitation(), invitation(None, issuer="lb", root=None), invitation(ca="PEM")):
        assert Invitation.parse(each.format()) == each
        assert is_invitation(each.format())
        assert each.credentials.seed not in repr(each)
        assert each.id == "_I" + "a" * 32


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "anna"},
        {"institute": "lb"},
        {"issuer": "awi"},
        {"person": "_M"},
        {"person": "*"},
        {"root": None},
        {"root": ANNA.public},
        {"network": OTHER},
        {"urls": ()},
        {"urls": ("nats://x",) * 21},
    ],
)
def test_an_invitation_that_contradicts_itself_is_refused(changes):
    with pytest.raises(NotConfigured, match="cut or changed"):
        Invitation.parse(invitation(**changes).format())


@given(
    st.dictionaries(
        st.sampled_from(["network", "name", "urls", "institute", "person", "jwt", "seed", "ca", "root"]), JSON
    )
)
def test_an_invitation_of_nonsense_is_refused(said):
    content = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    with pytest.raises(NotConfigured):
        Invitation.parse(f"landbridge-invitation.{content}")
