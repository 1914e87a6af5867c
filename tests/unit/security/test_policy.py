from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import InvalidName
from landbridge.security import Caller, check_pattern, decide

BOB = Caller("awi", "bob")
MEMBER = "geomar/ocean.climatology"
names = st.sampled_from(["awi", "gfz", "geomar", "local", "lb"])
people = st.sampled_from(["anna", "bob", "_M"])


def allowed(caller, *shares, network_owner=False):
    return decide(caller, "geomar", MEMBER, shares, network_owner).allowed


def test_own_institute_may_call_without_any_share():
    assert allowed(Caller("geomar", "anybody"))


def test_nobody_else_may_call_without_a_share():
    assert not allowed(BOB)


@pytest.mark.parametrize("pattern", ["awi/bob", "awi/*", "awi", "*/*", "*"])
def test_pattern_that_fits_allows(pattern):
    assert allowed(BOB, "gfz/anna", pattern)


@pytest.mark.parametrize(
    "pattern",
    ["awi/anna", "gfz/*", "gfz", "gfz/bob", "aw", "aw*", "awi/b*", "*/bob", "awi/", "/bob", "", "awi.bob", "AWI/bob"],
)
def test_pattern_that_does_not_fit_or_is_none_allows_nobody(pattern):
    assert not allowed(BOB, pattern)


@pytest.mark.parametrize("caller", [Caller("*", "*"), Caller("awi", "*"), Caller("*", "bob"), Caller("", "")])
def test_caller_named_like_a_pattern_is_not_everybody(caller):
    assert not allowed(caller, "gfz/anna", "gfz/*", "awi/bob")


def test_owner_of_the_network_may_call_everything_on_own_network_only():
    owner = Caller("local", "owner")
    assert allowed(owner, network_owner=True)
    assert not allowed(owner, network_owner=False)
    assert not allowed(BOB, network_owner=True)


def test_refusal_says_who_must_do_what():
    reason = decide(BOB, "geomar", MEMBER, ["gfz/*"], False).reason
    assert reason.startswith("geomar has not shared geomar/ocean.climatology with awi/bob; ask geomar")
    assert "landbridge serve FILE --as geomar/ocean --share 'awi/bob'" in reason


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("awi", "awi/*"),
        ("awi/*", "awi/*"),
        ("awi/bob", "awi/bob"),
        ("*", "*/*"),
        ("*/*", "*/*"),
        ("local/*", "local/*"),
    ],
)
def test_pattern_is_brought_to_one_form(text, canonical):
    assert check_pattern(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "*/bob", "awi/", "/bob", "a.b", "awi/a.b", "awi/b*", "awi/bob/x", ">", " awi", None, 7]
)
def test_what_is_no_pattern_is_refused_with_a_reason(text):
    with pytest.raises(InvalidName, match=r"may not name an? (share pattern|institute|person)"):
        check_pattern(text)


@given(names, people, names, people)
def test_canonical_form_of_a_pattern_decides_as_the_pattern(institute, person, of_institute, of_person):
    for pattern in (of_institute, f"{of_institute}/*", f"{of_institute}/{of_person}", "*", "*/*"):
        caller = Caller(institute, person)
        assert allowed(caller, pattern) == allowed(caller, check_pattern(pattern))


@given(names, people, st.lists(st.builds("{}/{}".format, names, people), max_size=4))
def test_more_shares_never_allow_less(institute, person, shares):
    caller = Caller(institute, person)
    for count in range(len(shares)):
        assert allowed(caller, *shares[:count]) <= allowed(caller, *shares)
