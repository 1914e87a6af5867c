"""W3C Trace Context: what is taken from elsewhere, and what goes on."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.tracing import TraceContext, outgoing_trace, parse_trace, serving

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def hexadecimal(digits: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**digits - 1).map(lambda number: f"{number:0{digits}x}")


KEYS = st.from_regex(r"[a-z][a-z0-9_\-*/]{0,20}", fullmatch=True) | st.from_regex(
    r"[a-z0-9][a-z0-9_\-*/]{0,9}@[a-z][a-z0-9_\-*/]{0,5}", fullmatch=True
)
VALUES = st.from_regex(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,10}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", fullmatch=True)
# A value that begins with a space keeps it; between members spaces mean nothing.
STATES = st.dictionaries(KEYS, VALUES, max_size=10).map(lambda found: ",".join(f"{k}={v}" for k, v in found.items()))
TRACES = st.builds(TraceContext, hexadecimal(32), hexadecimal(16), st.booleans(), STATES)


@given(TRACES)
def test_what_is_written_is_read_again(trace):
    meta = trace.to_meta()
    assert len(meta["traceparent"]) == 55
    assert parse_trace(meta["traceparent"], meta.get("tracestate")) == trace


@given(TRACES, hexadecimal(16))
def test_a_child_differs_in_its_own_id_only(trace, span_id):
    child = trace.child(span_id)
    assert child.span_id == span_id
    assert child._replace(span_id=trace.span_id) == trace


ANYTHING = st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}\n?")


@given(ANYTHING | st.none() | st.integers() | st.binary() | st.lists(st.integers()), ANYTHING)
def test_what_is_taken_from_elsewhere_is_harmless_and_travels_on(parent, state):
    trace = parse_trace(parent, state)
    if trace is not None:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", trace.traceparent)
        assert re.fullmatch(r"[ -~]{0,512}", trace.state)
        assert parse_trace(trace.traceparent, trace.state) == trace


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT + "\n",
        PARENT + "-more",
        PARENT[:-1],
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"01-{TRACE}-{SPAN}-01more",
        f"01-{TRACE}-{SPAN}-01-{'x' * 300}",
        f"00-{TRACE}-{SPAN}-0g",
        "00-" + "٠" * 32 + f"-{SPAN}-01",
        None,
        17,
        PARENT.encode(),
    ],
)
def test_what_is_no_traceparent_is_dropped(parent):
    assert parse_trace(parent, "rojo=1") is None


@pytest.mark.parametrize("further", ["", "-", "-what the future brings"])
def test_a_later_version_is_read_as_far_as_it_is_known(further):
    assert parse_trace(f"cc-{TRACE}-{SPAN}-ff{further}") == TraceContext(TRACE, SPAN, True)


def test_only_the_flag_that_is_known_goes_on():
    assert parse_trace(f"00-{TRACE}-{SPAN}-fe").traceparent == f"00-{TRACE}-{SPAN}-00"


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("rojo=1,congo=t61rcWkgMzE", "rojo=1,congo=t61rcWkgMzE"),
        (" rojo=1 ,\t,congo=2,", "rojo=1,congo=2"),
        ("0tenant@system=x", "0tenant@system=x"),
        ("rojo=1,rojo=2", ""),
        ("Rojo=1", ""),
        ("0rojo=1", ""),
        ("rojo", ""),
        ("rojo=", ""),
        ("rojo=a=b", ""),
        ("rojo=\x1b[2J", ""),
        ("rojo=1\n", ""),
        ("rojo=ü", ""),
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)), ""),
        ("rojo=" + "x" * 256, "rojo=" + "x" * 256),
        ("rojo=" + "x" * 257, ""),
        (f"a={'x' * 252},b={'y' * 251},d=1", f"a={'x' * 252},b={'y' * 251},d=1"),  # 512 characters
        (f"a={'x' * 252},b={'y' * 251},d=12", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_tracestate_is_kept_whole_or_dropped_alone(state, kept):
    assert parse_trace(PARENT, state) == TraceContext(TRACE, SPAN, True, kept)


def test_there_is_no_trace_where_nobody_traces():
    assert outgoing_trace() is None


def test_calls_of_a_served_call_are_part_of_its_trace():
    token = serving.set(SimpleNamespace(trace=TraceContext(TRACE, SPAN, True)))
    try:
        assert outgoing_trace() == TraceContext(TRACE, SPAN, True)
    finally:
        serving.reset(token)


def span(trace_id: int, span_id: int, valid: bool = True) -> SimpleNamespace:
    state = SimpleNamespace(to_header=lambda: "rojo=1")
    context = SimpleNamespace(is_valid=valid, trace_id=trace_id, span_id=span_id, trace_flags=1, trace_state=state)
    return SimpleNamespace(get_span_context=lambda: context)


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (lambda: span(int(TRACE, 16), int(SPAN, 16)), TraceContext(TRACE, SPAN, True, "rojo=1")),
        (lambda: span(0, 0, valid=False), None),
        (lambda: span(1 << 200, 1), None),
        (lambda: None, None),
    ],
    ids=["valid", "of nothing", "of another form", "missing"],
)
def test_the_span_of_a_program_that_traces_is_taken(monkeypatch, current, expected):
    api = types.ModuleType("opentelemetry.trace")
    api.get_current_span = current
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)
    assert outgoing_trace() == expected


def test_opentelemetry_is_never_imported_by_us():
    script = "import sys, landbridge.tracing as t; t.outgoing_trace(); print([m for m in sys.modules if 'telem' in m])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"
