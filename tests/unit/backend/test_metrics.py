"""What a backend counts, and the text of it: read back by a strict parser of the text format 0.0.4."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.backend.metrics import OUTCOMES, REFUSALS, Counts, Metrics, load_of, prometheus_text
from landbridge.protocol import LATENCY_BOUNDS_S

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})\{{(.*)\}} (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parsed(text):
    """Return the samples, as name → labels → value; every line must be exactly as the format has it."""
    assert text.endswith("\n")
    families, samples, helped = {}, {}, set()
    family = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ", 3)[2]
            assert family not in helped
            helped.add(family)
        elif line.startswith("# TYPE "):
            name, kind = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line).groups()
            assert name == family
            families[name] = kind
        else:
            name, labels, value = SAMPLE.fullmatch(line).groups()
            base = re.sub("_(bucket|sum|count)$", "", name) if families[family] == "histogram" else name
            assert base == family
            found = LABEL.findall(labels)
            assert "".join(f'{key}="{text}",' for key, text in found) == labels + ","
            pairs = {key: re.sub(r"\\.", lambda m: UNESCAPED[m[0]], text) for key, text in found}
            key = frozenset(pairs.items())
            assert key not in samples.setdefault(name, {})
            samples[name][key] = float(value)
    return families, samples


def metrics(version="1.0", **methods):
    return Metrics("awi/stats", "0" * 32, version, 1_700_000_000.5, methods)


def value(text, name, **labels):
    return parsed(text)[1][f"landbridge_{name}"][frozenset({"module": "awi/stats", **labels}.items())]


def counted(*ends, begun=0):
    counts = Counts()
    counts.begun = begun or len(ends)
    for outcome, seconds in ends:
        counts.end(outcome, seconds)
    return counts


def test_what_was_counted_is_told():
    counts = counted(("ok", 0.002), ("remote_error", 0.02), ("cancelled", 3.0), begun=10)
    counts.waiting, counts.bytes_in, counts.bytes_out = 4, 100, 200
    now = metrics(mean=counts, total=Counts())
    now.refuse("denied")
    text = prometheus_text(now)
    assert value(text, "calls_begun_total", method="mean") == 10
    assert value(text, "calls_running", method="mean") == 3
    assert value(text, "calls_waiting", method="mean") == 4
    assert value(text, "calls_ended_total", method="mean", outcome="ok") == 1
    assert value(text, "calls_ended_total", method="mean", outcome="remote_error") == 1
    assert value(text, "calls_ended_total", method="mean", outcome="cancelled") == 1
    assert value(text, "calls_ended_total", method="total", outcome="ok") == 0
    assert value(text, "received_bytes_total", method="mean") == 100
    assert value(text, "sent_bytes_total", method="mean") == 200
    assert value(text, "requests_refused_total", code="denied") == 1
    assert value(text, "backend_start_time_seconds") == 1_700_000_000.5


def test_histograms_are_cumulative_and_end_with_all():
    text = prometheus_text(metrics(mean=counted(("ok", 0.001), ("ok", 0.0011), ("ok", 5000.0))))
    reached = [value(text, "call_seconds_bucket", method="mean", le=f"{bound:g}") for bound in LATENCY_BOUNDS_S]
    assert reached == [1, *[2] * 19]
    assert value(text, "call_seconds_bucket", method="mean", le="+Inf") == 3
    assert value(text, "call_seconds_count", method="mean") == 3
    assert math.isclose(value(text, "call_seconds_sum", method="mean"), 5000.0021)


@given(st.text())
def test_text_of_the_module_is_escaped(version):
    families, samples = parsed(prometheus_text(metrics(version, mean=Counts())))
    ((labels, one),) = samples["landbridge_backend_info"].items()
    assert dict(labels)["version"] == version
    assert one == 1
    assert families["landbridge_call_seconds"] == "histogram"


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES) | st.text(), st.floats(0, 1e6))))
def test_whatever_callers_do_there_are_no_further_labels(ends):
    counts = counted(*ends)
    before = {key for samples in parsed(prometheus_text(metrics(mean=Counts())))[1].values() for key in samples}
    assert {key for samples in parsed(prometheus_text(metrics(mean=counts)))[1].values() for key in samples} == before
    assert sum(counts.ended.values()) == sum(counts.latency) == counts.done == len(ends)
    assert counts.errors + counts.ended["ok"] + counts.ended["cancelled"] == len(ends)


@pytest.mark.parametrize("code", ["denied", "a stranger's word"])
def test_refusals_have_codes_of_a_closed_set(code):
    now = metrics()
    now.refuse(code)
    assert set(now.refused) == set(REFUSALS)
    assert sum(now.refused.values()) == 1


def test_the_last_error_is_a_code():
    assert counted(("ok", 1), ("timeout", 1), ("ok", 1)).last_error == "timeout"
    assert counted(("a stranger's word", 1)).last_error == "internal"
    assert counted(("ok", 1)).last_error == ""


def test_those_who_wait_are_not_said_to_run_when_they_have_ended_since():
    counts = counted(("ok", 1), begun=2)
    counts.waiting = 5
    assert counts.running == 0


def test_load_is_the_sum_over_methods():
    one, other = counted(("ok", 0.002), begun=3), counted(("timeout", 0.002), ("ok", 100.0))
    one.bytes_in, other.bytes_in = 1, 2
    load = load_of([one, other])
    assert (load.ended, load.errors, load.running, load.bytes_in) == (3, 1, 2, 3)
    assert sum(load.latency) == 3
    assert load.latency[1] == 2
