from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import InvalidName
from landbridge.security import Caller, Rule, check_pattern, decide

BOB = Caller("awi", "bob")
MODULE = "geomar/ocean"
names = st.sampled_from(["awi", "gfz", "geomar", "local", "lb"])
people = st.sampled_from(["anna", "bob", "_M"])
members = st.sampled_from(["mean", "sst", "sst.select", "Model", "Model.step"])


def decided(caller, *shares, **said):
    rules = [share if isinstance(share, Rule) else Rule(share) for share in shares]
    return decide(caller, "geomar", MODULE, "climatology", rules, **said)


def allowed(caller, *shares, network_owner=False):
    return decided(caller, *shares, network_owner=network_owner).allowed


def test_own_institute_may_call_without_any_share():
    assert allowed(Caller("geomar", "anybody"))


def test_nobody_else_may_call_without_a_share():
    assert not allowed(BOB)


@pytest.mark.parametrize("pattern", ["awi/bob", "awi/*", "*/*"])
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
    reason = decided(BOB, "gfz/*").reason
    assert reason == (
        "geomar has not shared geomar/ocean.climatology with awi/bob; ask geomar to share it: "
        "landbridge share geomar/ocean.climatology 'awi/bob'"
    )


def test_a_share_ends_when_it_says_and_the_reason_tells():
    rule = Rule("awi/*", until=1806537600.0)
    before, after = (decided(BOB, rule, now=rule.until + offset) for offset in (-1, 0))
    assert (before.allowed, before.until) == (True, rule.until)
    assert not after.allowed
    assert "geomar had shared geomar/ocean.climatology with awi/* until the end of 2027-03-31; ask" in after.reason


def test_a_refusal_comes_before_every_share_but_not_before_the_owner_of_the_network():
    rules = ["awi/bob", "*/*", Rule("awi/*", refuses=True), Rule("geomar/eve", refuses=True)]
    assert not allowed(BOB, *rules)
    assert not allowed(Caller("geomar", "eve"), *rules)
    assert allowed(Caller("geomar", "tom"), *rules)
    assert allowed(Caller("gfz", "bob"), *rules)
    assert allowed(Caller("local", "me"), Rule("*/*", refuses=True), network_owner=True)
    assert "does not let awi/* call geomar/ocean.climatology, and so not awi/bob" in decided(BOB, *rules).reason


def test_limits_hold_only_where_nothing_is_shared_without_them():
    limited = Rule("awi/*", calls_per_hour=3)
    assert decided(BOB, limited).rules == (limited,)
    assert decided(BOB, limited, "awi/bob").rules == ()
    assert decided(Caller("geomar", "tom"), Rule("geomar/*", concurrent=1)).rules == ()


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


@given(names, people, st.lists(st.builds("{}/{}".format, names, people), max_size=4))
def test_more_shares_never_allow_less(institute, person, shares):
    caller = Caller(institute, person)
    for count in range(len(shares)):
        assert allowed(caller, *shares[:count]) <= allowed(caller, *shares)


rules = st.builds(
    Rule,
    st.one_of(st.builds("{}/{}".format, names, people), st.builds("{}/*".format, names), st.just("*/*")),
    st.one_of(st.none(), st.frozensets(members, min_size=1, max_size=2)),
    st.sampled_from([10.0, 20.0, float("inf")]),
    st.sampled_from([None, 5]),
    refuses=st.booleans(),
    approve=st.booleans(),
)


@given(
    names, people, members, st.lists(rules, max_size=6), st.booleans(), st.sampled_from([5.0, 10.0, 15.0, 25.0]),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_the_decision_is_that_of_a_simple_model(
    institute, person, member, rules, network_owner, now, per_call, one_value
):
    def fits(rule: Rule) -> bool:
        of_institute, of_person = rule.who.split("/")
        who = of_institute in (institute, "*") and of_person in (person, "*")
        what = rule.members is None or member in rule.members or member.split(".")[0] in rule.members
        return who and what and now < rule.until

    caller, said = Caller(institute, person), {"approve": per_call, "one_value": one_value}
    said["network_owner"] = network_owner
    decision = decide(caller, "geomar", MODULE, member, rules, now=now, **said)
    fitting = [rule for rule in rules if fits(rule)]
    if network_owner and institute == "local":
        expected = True
    elif any(rule.refuses for rule in fitting):
        expected = False
    else:
        fitting = [rule for rule in fitting if one_value or not (rule.approve or per_call)]
        expected = institute == "geomar" or bool(fitting)
    assert decision.allowed == expected
    is_guest = expected and institute != "geomar" and not (network_owner and institute == "local")
    unseen = [rule for rule in fitting if not (rule.approve or per_call)]
    free = any(rule.calls_per_hour is None for rule in unseen)
    # What is held in any case, whichever rule it is called by, needs none of them to be looked at.
    held_anyway = not unseen and any(rule.calls_per_hour is None for rule in fitting)
    assert bool(decision.rules) == (is_guest and not free and not held_anyway)
    # It is held unless a rule allows it without, for certain or within what that rule says.
    assert decision.approve == (is_guest and not free and len(unseen) < len(fitting))
    if decision.rules:
        assert {rule.who for rule in decision.rules if not rule.approve} == {rule.who for rule in unseen}
    # It holds until it says so.
    later = min(decision.until - 0.001, 30.0)
    again = decide(caller, "geomar", MODULE, member, rules, now=later, **said)
    assert (again.allowed, again.approve) == (decision.allowed, decision.approve)


def test_what_comes_bit_by_bit_is_not_shared_with_approval_and_the_reason_tells():
    decision = decided(BOB, Rule("awi/*", approve=True), one_value=False)
    assert not decision.allowed
    assert decision.reason == (
        "geomar shares geomar/ocean.climatology with awi/* only if it can look at each result before it goes, and this "
        "comes bit by bit; ask geomar for a method that returns one value, or to share it without: "
        "landbridge share geomar/ocean.climatology 'awi/*'"
    )
