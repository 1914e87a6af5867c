"""The written promise (``spec/call.md`` and the golden messages) and the code say the same."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from landbridge import errors, protocol
from landbridge.errors import LandbridgeError
from landbridge.protocol import Kind, Phase, State, meta_to_error, pack, unpack, version_text
from landbridge.protocol.bulk import (
    _LANE_BYTES,
    _LONGEST_PATIENCE_S,
    _PATIENCE_S,
    _SMALLEST_LANE_WINDOW,
    _SMALLEST_PART,
)
from landbridge.protocol.messages import _FIELDS, _META_LIMIT, _VALUE_META_LIMIT, UNCOUNTED

SPEC = Path(__file__).parents[3] / "spec"
TEXT = (SPEC / "call.md").read_text(encoding="utf-8")


def vectors(name: str) -> list[dict]:
    return json.loads((SPEC / "vectors" / "messages" / name).read_text(encoding="utf-8"))


def rows(heading: str) -> list[list[str]]:
    """Return the cells of all table rows under a heading, up to the next heading."""
    _, _, after = TEXT.partition(f"\n{heading}\n")
    assert after, f"no section {heading}"
    section = re.split(r"\n#+ ", after)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]


def test_constants_have_the_written_values():
    written = {name: float(value) for name, value, _ in rows("## Constants")[2:]}
    in_code = {name: getattr(protocol, name) for name in protocol.__all__ if name.isupper()}
    in_code = {name: value for name, value in in_code.items() if isinstance(value, (int, float)) and name != "VERSION"}
    assert written == in_code


def test_kinds_have_the_written_codes_and_are_counted_as_written():
    table = [cells for cells in rows("## Messages") if cells[0] in Kind.__members__]
    assert {cells[0]: int(cells[1]) for cells in table} == {kind.name: int(kind) for kind in Kind}
    assert {cells[0] for cells in table if cells[3] == "no"} == {kind.name for kind in UNCOUNTED}


def test_fields_are_the_written_ones():
    written = {name for cells in rows("## Messages") for name in re.findall("`([a-z_]+)`", cells[0])}
    assert written == set(_FIELDS)
    assert (
        f"| `traceparent`, `tracestate` | text | at most {_FIELDS['traceparent'][1]}, {_FIELDS['tracestate'][1]} "
        in TEXT
    )
    assert f"| `state`, `stream` | text | at most {_FIELDS['stream'][1]} characters" in TEXT
    assert f"| `label`, `text` | text | at most {_FIELDS['label'][1]}, {_FIELDS['text'][1]:,} characters" in TEXT
    assert f"at most {_VALUE_META_LIMIT} bytes, of the others at most {_META_LIMIT:,}" in TEXT


def test_every_field_of_a_kind_is_one_that_has_a_range():
    table = [cells for cells in rows("## Messages") if cells[0] in Kind.__members__]
    named = {name for cells in table for name in re.findall("`([a-z_]+)`", cells[4])}
    assert named - {"stopped", "stopping", "running", "stdout", "stderr", "log"} == set(_FIELDS)


def test_thresholds_of_the_lane_are_the_written_ones():
    assert f"at least {_SMALLEST_PART:,} unless" in TEXT
    assert f"together, but {_SMALLEST_LANE_WINDOW:,} each" in TEXT
    assert f"and to {_LANE_BYTES >> 20} MiB for all calls" in TEXT
    assert f"none has come for {_PATIENCE_S:g} s" in TEXT
    assert f"again after {2 * _PATIENCE_S:g} s and each {_LONGEST_PATIENCE_S:g} s" in TEXT


def test_the_version_is_the_written_one():
    assert f"version {version_text(protocol.VERSION)},\nbyte `{protocol.VERSION:#x}`" in TEXT


def test_states_are_the_written_ones():
    def named(heading: str) -> set[str]:
        return {
            word
            for cells in rows(heading)[2:]
            for cell in (cells[0], cells[2])
            for word in re.findall("[A-Z]{4,}", cell)
        }

    assert named("### The caller") == {state.name for state in State}
    assert named("### The backend") == {phase.name for phase in Phase}


def test_error_codes_are_the_written_ones():
    written = {cells[0].strip("`") for cells in rows("### Errors")[2:]}
    known = {
        cls.code
        for name in errors.__all__
        if isinstance(cls := getattr(errors, name), type) and issubclass(cls, LandbridgeError)
    }
    assert {code for code in known if meta_to_error({"code": code}, "a/b.c").code == code} == written


def test_the_maker_gives_the_stored_messages():
    made = runpy.run_path(str(SPEC / "vectors" / "make_messages.py"))["make"]()
    assert {name: vectors(name) for name in made} == made
    assert {path.name for path in (SPEC / "vectors" / "messages").iterdir()} == set(made)


@pytest.mark.parametrize("case", vectors("written.json"), ids=lambda case: case["name"])
def test_golden_messages_are_written_and_read_exactly(case):
    payload, body = bytes.fromhex(case["bytes"]), bytes.fromhex(case["body"])
    assert pack(Kind[case["kind"]], case["sequence"], case["meta"]) + body == payload
    assert unpack(payload) == (Kind[case["kind"]], case["sequence"], case["meta"], body)


@pytest.mark.parametrize("case", vectors("read.json"), ids=lambda case: case["name"])
def test_messages_of_other_writers_are_read(case):
    expected = (Kind[case["kind"]], case["sequence"], case["meta"], bytes.fromhex(case["body"]))
    assert unpack(bytes.fromhex(case["bytes"])) == expected


@pytest.mark.parametrize("case", vectors("refused.json"), ids=lambda case: case["name"])
def test_broken_messages_are_refused_with_the_written_code(case):
    with pytest.raises(LandbridgeError) as caught:
        unpack(bytes.fromhex(case["bytes"]))
    assert caught.value.code == case["error"]


def test_every_kind_has_a_golden_message():
    assert {case["kind"] for case in vectors("written.json")} == set(Kind.__members__)
