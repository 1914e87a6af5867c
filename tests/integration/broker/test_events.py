"""What the broker's texts and credentials mean, whatever stands in them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.broker import Denied
from landbridge.broker.events import denied_by, expiry_of, refuses_credentials

SUBJECT = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"\\\\'), min_size=1)


def token(body: object) -> str:
    return "e." + base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode() + ".s"


@given(SUBJECT)
def test_a_refused_subject_is_given_as_it_was_written(subject):
    assert denied_by(f'Permissions Violation for Publish to "{subject}"') == Denied("publish", subject)
    text = f'Permissions Violation for Subscription to "{subject}" using queue "q"'
    assert denied_by(text) == Denied("subscribe", subject)


@given(st.text())
def test_other_errors_are_no_refusals_of_a_subject(text):
    assert denied_by("Maximum Payload Violation" + text.replace('"', "")) is None


@given(st.text())
def test_credentials_of_any_text_have_an_expiry_or_none(text):
    assert expiry_of(text) is None or expiry_of(text) > 0


@pytest.mark.parametrize("value", [None, "1", -1, 0, 2**70, 10.0**300, float("nan"), float("inf"), [], {}])
def test_an_expiry_that_is_no_date_is_none(value):
    assert expiry_of(token({"exp": value})) is None


@pytest.mark.parametrize("body", [[], 3, "x", None, {}])
def test_credentials_without_an_expiry_have_none(body):
    assert expiry_of(token(body)) is None


def test_an_expiry_is_read_in_seconds():
    assert expiry_of(token({"exp": 1_800_000_000})) == 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'Authorization Violation'", True),
        ("'User Authentication Revoked'", True),
        ("'account authentication expired'", True),
        ("'Authentication Timeout'", False),
        ("'Maximum Connections Exceeded'", False),
    ],
)
def test_only_what_concerns_the_credentials_refuses_them(text, expected):
    assert refuses_credentials(text) is expected
