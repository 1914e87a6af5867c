"""The owner's policy file: what it says holds, and what it does not say well is told with its place."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import NotConfigured
from landbridge.security import POLICY_FILE_BYTES, Caller, Rule, decide, end_of, parse_policy

WHOLE = """
[groups]
ocean = ["awi/anna", "gfz"]

[[share]]
with = ["@ocean", "hzg/tom"]
members = ["climatology", "Model.step"]
until = 2027-03-31
calls_per_hour = 100
concurrent = 2
bytes_per_hour = "1.5 GB"
arguments.first = { min = 1980, max = 2010 }
arguments.region = { one_of = ["nino34"] }
approve = "per-call"

[[share]]
with = ["*"]
module = "waves"

[[refuse]]
with = ["awi/mallory"]
until = 2027-01-01T12:00:00Z
"""


def test_all_that_it_can_say():
    first, second, third, refusal = parse_policy(WHOLE, "ocean").rules
    assert [rule.who for rule in (first, second, third, refusal)] == ["awi/anna", "gfz/*", "hzg/tom", "awi/mallory"]
    assert first.members == {"climatology", "Model.step"}
    assert first.until == end_of("2027-03-31")
    assert (first.calls_per_hour, first.concurrent, first.bytes_per_hour) == (100, 2, 1_500_000_000)
    assert [str(condition) for condition in first.conditions] == ["1980 to 2010", "one of nino34"]
    assert [rule.approve for rule in (first, third, refusal)] == [True, True, False]
    assert not parse_policy(WHOLE, "ocean").audit_values
    assert parse_policy("audit_values = true", "ocean").audit_values
    assert refusal == Rule("awi/mallory", until=1798804800.0, refuses=True)
    assert [rule.who for rule in parse_policy(WHOLE, "waves").rules] == [
        "awi/anna", "gfz/*", "hzg/tom", "*/*", "awi/mallory"
    ]  # fmt: skip


def test_nothing_is_shared_by_a_file_that_says_nothing():
    assert parse_policy("", "ocean").rules == ()
    assert parse_policy("[groups]\nall = ['*']", "ocean").rules == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("with = [", "cannot be read"),
        ("share = 3", r"share is written as \[\[share\]\]"),
        ("[share]\nwith=['awi']", r"share is written as \[\[share\]\]"),
        ("[[shares]]\nwith=['awi']", "it knows no shares; was share meant"),
        ("[[share]]\nwit=['awi']", r"\[\[share\]\] number 1: it knows no wit; was with meant"),
        ("[[share]]\nmembers=['a']", "number 1: with is a list of texts that is not empty"),
        ("[[share]]\nwith=[]", "with is a list of texts that is not empty"),
        ("[[share]]\nwith='awi'", "with is a list of texts"),
        ("[[share]]\nwith=['awi']\n[[share]]\nwith=['a*']", "may not name an institute"),
        ("[[share]]\nwith=['*/anna']", "known only together with the institute"),
        ("[[share]]\nwith=['@ocean']", "there is no group @ocean"),
        ("[groups]\na=3", "the group a is a list"),
        ("groups=3", r"\[groups\] is a table"),
        ("[[share]]\nwith=['awi']\nmembers=[]", "members is a list of texts"),
        ("[[share]]\nwith=['awi']\nmembers=['a b']", "may not name"),
        ("[[share]]\nwith=['awi']\nmodule=3", "module is a name"),
        ("[[share]]\nwith=['awi']\nuntil='soon'", "until is 'soon'; write it as 2027-03-31"),
        ("[[share]]\nwith=['awi']\nuntil=3", "until is 3"),
        ("[[share]]\nwith=['awi']\nuntil=12:00:00", "until is"),
        ("[[share]]\nwith=['awi']\ncalls_per_hour=0", "calls_per_hour is a whole number"),
        ("[[share]]\nwith=['awi']\nconcurrent=true", "concurrent is a whole number"),
        ("[[share]]\nwith=['awi']\nbytes_per_hour='10 XB'", "bytes_per_hour is a number of bytes"),
        ("[[share]]\nwith=['awi']\nbytes_per_hour='0 GB'", "bytes_per_hour is a number of bytes"),
        ("[[share]]\nwith=['awi']\napprove=true", r'number 1: approve is "per-call"'),
        ("[[share]]\nwith=['awi']\napprove='always'", r'number 1: approve is "per-call"'),
        ("[[refuse]]\nwith=['awi']\napprove='per-call'", "it knows no approve"),
        ("audit_values = 'yes'", "audit_values is true or false"),
        ("[[share]]\nwith=['awi']\narguments=3", "arguments is a table"),
        ("[[share]]\nwith=['awi']\narguments.x=3", "may not name a condition"),
        ("[[refuse]]\nwith=['awi']\nconcurrent=2", r"\[\[refuse\]\] number 1: it knows no concurrent"),
        ("a = " + "[" * 5000, "cannot be read"),
        ("#" * (POLICY_FILE_BYTES + 1), "is not read"),
        ("[[share]]\nwith=['awi']\n" * 10_001, "10,001 rules"),
    ],
)
def test_what_it_does_not_say_well_is_told_with_its_place(text, said):
    with pytest.raises(NotConfigured, match=said) as caught:
        parse_policy(text, "ocean")
    assert "landbridge.toml" in str(caught.value)
    assert len(str(caught.value)) < 1000


@given(st.text(max_size=200))
def test_whatever_it_holds_it_is_followed_or_refused(text):
    try:
        rules = parse_policy(text, "ocean").rules
    except NotConfigured:
        return
    assert all(isinstance(rule, Rule) for rule in rules)


def test_what_it_says_decides():
    rules = parse_policy(WHOLE, "ocean").rules

    def allowed(institute: str, person: str, member: str, now: float = 0.0) -> bool:
        return decide(Caller(institute, person), "geomar", "geomar/ocean", member, rules, now=now).allowed

    assert allowed("gfz", "anybody", "climatology")
    assert allowed("awi", "anna", "Model.step")
    assert not allowed("awi", "anna", "Model.other")
    assert not allowed("awi", "bob", "climatology")
    assert not allowed("gfz", "anybody", "climatology", end_of("2027-03-31"))
    assert not allowed("awi", "mallory", "climatology")


def test_ends_are_days_or_times():
    assert end_of("2027-03-31") == end_of("2027-04-01T00:00:00+00:00") == end_of("2027-04-01T02:00+02:00")
    for said in ("", "31.3.2027", "2027-02-30", 3, None, math.nan):
        with pytest.raises(ValueError, match="write it as 2027-03-31"):
            end_of(said)
