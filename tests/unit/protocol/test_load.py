"""The question how busy a backend is, and its answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import Malformed
from landbridge.protocol import (
    LATENCY_BOUNDS_S,
    Load,
    LoadSubject,
    load_subject,
    load_subscription,
    pack_load,
    parse_control,
    parse_load,
    quantile_s,
    unpack_load,
)

ID = "0123456789abcdef" * 2
ASKED = ("gfz", "anna", "awi", "stats", ID)
COUNTS = st.integers(0, 2**63 - 1)
LATENCIES = st.lists(st.integers(0, 1000), min_size=21, max_size=21).map(tuple)
LOADS = st.builds(Load, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, LATENCIES)


def test_a_question_is_read_as_it_was_written():
    assert parse_load(load_subject(*ASKED)) == LoadSubject(*ASKED)


def test_a_question_is_what_a_backend_subscribes_to_and_no_control_message():
    pattern, subject = load_subscription("awi", "stats").split("."), load_subject(*ASKED).split(".")
    assert len(pattern) == len(subject)
    assert all(wanted in ("*", token) for wanted, token in zip(pattern, subject, strict=True))
    with pytest.raises(Malformed):
        parse_control(load_subject(*ASKED))


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("token", ["", "*", ">", "UPPER", "a b", "class", "x" * 64, ID + "\n"])
def test_a_question_with_a_wrong_token_is_dropped(place, token):
    tokens = load_subject(*ASKED).split(".")
    tokens[place] = token
    with pytest.raises(Malformed):
        parse_load(".".join(tokens))


@pytest.mark.parametrize("subject", ["", "lb.ctl", load_subject(*ASKED) + ".more", load_subject(*ASKED)[3:]])
def test_a_question_of_another_shape_is_dropped(subject):
    with pytest.raises(Malformed):
        parse_load(subject)


@given(LOADS | st.none())
def test_an_answer_is_read_as_it_was_written(load):
    assert unpack_load(pack_load(ID, load)) == (ID, load)


ANSWER = json.loads(pack_load(ID, Load(1, 0, 0, 0, 0, 0, (1, *(0,) * 20))))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        b"[" * 4000,
        b" " * 4097,
        b"[]",
        json.dumps({"instance": ID}).encode(),
        json.dumps(ANSWER | {"instance": "x"}).encode(),
        json.dumps(ANSWER | {"instance": 7}).encode(),
        json.dumps(ANSWER | {"load": []}).encode(),
        json.dumps(ANSWER | {"load": {}}).encode(),
        *(
            json.dumps(ANSWER | {"load": ANSWER["load"] | {"ended": wrong}}).encode()
            for wrong in (-1, 1.0, True, "1", None, 1 << 63)
        ),
        json.dumps(ANSWER | {"load": ANSWER["load"] | {"ended": float("nan")}}).encode(),
        json.dumps(ANSWER | {"load": ANSWER["load"] | {"latency": [0] * 20}}).encode(),
        json.dumps(ANSWER | {"load": ANSWER["load"] | {"latency": ["0"] * 21}}).encode(),
    ],
    ids=range(19),
)
def test_an_answer_that_breaks_the_rules_is_dropped(answer):
    with pytest.raises(Malformed):
        unpack_load(answer)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_dropped(answer):
    try:
        instance, load = unpack_load(answer)
    except Malformed:
        return
    assert len(instance) == 32
    assert load is None or isinstance(load, Load)


@given(LATENCIES, st.floats(0.01, 1.0))
def test_a_quantile_has_its_share_of_the_calls_below_it(latency, share):
    found = quantile_s(latency, share)
    if found is None:
        assert sum(latency) == 0
        return
    at_most = sum(count for bound, count in zip((*LATENCY_BOUNDS_S, 1e9), latency, strict=True) if bound < found)
    up_to = sum(count for low, count in zip((0, *LATENCY_BOUNDS_S), latency, strict=True) if low <= found)
    assert at_most <= share * sum(latency) + 1e-6
    assert up_to >= share * sum(latency) - 1e-6
    assert 0 < found <= LATENCY_BOUNDS_S[-1]
