"""A chain of seals: whatever is done to its records is seen; that its end was cut off, by a hash that was noted."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from landbridge.errors import Malformed
from landbridge.security import FIRST, read_chain, sealed

said = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda key: key not in ("number", "event")),
    st.one_of(st.text(max_size=20), st.integers(-(2**53), 2**53), st.booleans(), st.none()),
    max_size=4,
)
batches = st.lists(st.lists(said, min_size=1, max_size=4), min_size=1, max_size=4)


def chain(batches):
    lines, before, number = [], FIRST, 0
    for batch in batches:
        own = []
        for record in batch:
            number += 1
            own.append(json.dumps({"number": number, **record}, separators=(",", ":")))
        number += 1
        seal, before = sealed("".join(f"{line}\n" for line in own), number, "2026", before)
        lines += [*own, seal]
    return lines


@given(batches)
def test_what_was_written_is_read(batches):
    found = list(read_chain(chain(batches), FIRST))
    records = [{key: value for key, value in each.said.items() if key != "number"} for each in found if not each.hash]
    assert records == [record for batch in batches for record in batch]
    assert [each.said["number"] for each in found] == list(range(1, len(found) + 1))
    assert [each.fault for each in found] == [""] * len(found)
    assert sum(bool(each.hash) for each in found) == len(batches)


@given(batches, st.data())
def test_whatever_is_changed_taken_out_put_in_or_moved_is_seen(batches, data):
    lines = chain(batches)
    place = data.draw(st.integers(0, len(lines) - 2))
    how = data.draw(st.sampled_from(["change", "take out", "put in", "move", "seal anew"]))
    if how == "change":
        lines[place] = json.dumps({**json.loads(lines[place]), "number": -1}, separators=(",", ":"))
    elif how == "take out":
        del lines[place]
    elif how == "put in":
        lines.insert(place, '{"number":-1}')
    elif how == "move":
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
    else:
        # Somebody takes the first records away and seals the rest of them as the first.
        assume(len(batches) > 1)
        first = next(number for number, line in enumerate(lines) if '"sealed"' in line)
        lines = [sealed("", 1, "2026", FIRST)[0], *lines[first + 1 :]]
    assert any(record.fault for record in read_chain(lines, FIRST))


@given(batches, st.integers(0, 10**6), st.integers(0, 10**6), st.characters(codec="ascii"))
def test_a_single_character_is_seen(batches, number, place, character):
    lines = chain(batches)
    number %= len(lines)
    place %= len(lines[number])
    assume(lines[number][place] != character)
    lines[number] = lines[number][:place] + character + lines[number][place + 1 :]
    try:
        found = list(read_chain(lines, FIRST))
    except Malformed:
        return
    # The last seal may have become an ordinary record: then what it sealed is seen to be unsealed.
    assert any(each.fault for each in found) or not found[-1].hash


@pytest.mark.parametrize("line", ["", "[]", "null", "{" * 100_000, "x" * 100_000, '{"a":NaN'])
def test_what_is_no_record_is_told(line):
    with pytest.raises(Malformed, match="line 1 of the log is no record"):
        list(read_chain([line]))
