"""Catalogue entries: what a module says of itself, and what is not believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.errors import Malformed
from landbridge.protocol import Presence, pack_presence, unpack_presence

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

INSTANCE = "0123456789abcdef" * 2


def entry(**fields: object) -> bytes:
    return json.dumps({"instance": INSTANCE, "serving": True} | fields).encode()


def test_an_entry_arrives_as_it_was_announced():
    presence = Presence(INSTANCE, True, "Ocean temperatures.", "2.1", run="a1b2")
    assert unpack_presence(pack_presence(presence)) == presence
    assert unpack_presence(pack_presence(presence)).protocol == "1.0"


def test_fields_that_are_missing_are_empty_and_unknown_ones_ignored():
    assert unpack_presence(entry(colour="blue")) == Presence(INSTANCE, True, "", "", "")


@pytest.mark.parametrize("letter", ["x", "海", "🌊", "\x00", "\ud800"])
def test_a_long_docstring_does_not_make_a_module_invisible(letter):
    presence = unpack_presence(pack_presence(Presence(INSTANCE, True, letter * 10_000, letter * 10_000)))
    assert (len(presence.summary), len(presence.version)) == (200, 40)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"null", b"5", b'"text"', b"\xff\xfe", b"[" * 4_000, b"{}", b"1" * 4_096,
        b'{"instance": "x"}', b" " * 4_097,
        entry(instance=None), entry(instance=5), entry(instance=""), entry(instance="*"),
        entry(instance=INSTANCE + "\n"),
        entry(instance=INSTANCE.upper()), entry(instance=INSTANCE[1:]), entry(instance=[INSTANCE]),
        entry(serving=None), entry(serving=1), entry(serving="yes"),
        entry(summary=5), entry(version=None), entry(protocol=[]), entry(summary={}), entry(run=5), entry(run=None),
        entry(summary="x" * 4_096),
    ],
)  # fmt: skip
def test_what_is_no_entry_is_malformed(payload):
    with pytest.raises(Malformed):
        unpack_presence(payload)


def test_texts_are_made_printable_and_short():
    presence = unpack_presence(
        entry(summary="\x1b[31m" + "x" * 1_000, version="\u202e1" * 50, protocol="1" * 50, run="\x1b" * 99)
    )
    assert "\x1b" not in presence.summary
    assert "\u202e" not in presence.version
    assert "\x1b" not in presence.run
    assert (len(presence.summary), len(presence.version), len(presence.protocol)) == (200, 40, 10)
    assert len(presence.run) == 32


@settings(PATIENT)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_raise_anything_else(payload):
    with pytest.raises(Malformed):
        unpack_presence(payload)
