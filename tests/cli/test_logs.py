"""The log of commands that go on until they are told to stop."""

from __future__ import annotations

import json
import logging
import re
import urllib.request
from datetime import datetime

from landbridge.cli.logs import _SafeFormatter

from .conftest import error_code


def test_a_text_of_several_lines_cannot_pass_for_several_records():
    formatter = _SafeFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    forged = "x\n2026-11-25 15:00:00 INFO awi/anna was let in\r\x85\u20282026-11-25 15:00:00 INFO again"
    record = logging.LogRecord("landbridge", logging.ERROR, "", 0, "raised %s", (forged,), None)
    first, *others = formatter.format(record).splitlines()
    assert first.endswith("ERROR raised x")
    assert len(others) == 1
    assert all(line.startswith("  | ") for line in others)


def test_lines_of_a_traceback_are_marked_as_such():
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        record = logging.LogRecord("landbridge", logging.ERROR, "", 0, "m", (), (ValueError, error, None))
    assert _SafeFormatter("%(message)s").format(record).splitlines() == ["m", "  | ValueError: a", "  | b"]


SERVED = """
import asyncio
import logging
import os

import landbridge as lb

__all__ = ["warns", "raises", "warns_apart", "raises_apart", "crashes_apart",
           "warns_later"]


def warns(value: str) -> None:
    logging.getLogger("ocean").warning("it is warm\\nvery \\x1b[2J")


async def warns_later() -> None:
    await asyncio.sleep(0)
    logging.getLogger("ocean").warning("it is cold")


def raises() -> None:
    raise ValueError("secret \\x9b")


@lb.method(process=True)
def warns_apart(value: str) -> None:
    warns(value)


@lb.method(process=True)
def raises_apart() -> None:
    raises()


@lb.method(process=True)
def crashes_apart() -> None:
    os._exit(3)
"""


def json_lines(process):
    return [json.loads(line) for line in process.stderr.splitlines() if line.startswith("{")]


def test_json_has_one_object_for_each_event_with_its_call(network):
    process = network.serve(SERVED, "awi/logged", "--log-format", "json", "--log-level", "debug")
    assert network.run("call", "awi/logged.warns", "--value", "not for the log").returncode == 0
    assert network.run("call", "awi/logged.warns_later", "--profile", "awi/anna").returncode == 0
    assert network.run("call", "awi/logged.raises").returncode == 6
    assert network.run("call", "awi/logged.warns", "--profile", "gfz/eve", "--value", "x").returncode == 4
    process.stop()
    assert "not for the log" not in process.stderr
    assert not any(character in process.stderr for character in "\x1b\x9b")
    lines = json_lines(process)
    assert all(line["module"] == "awi/logged" for line in lines)
    assert {line["instance"] for line in lines if "call" in line} == {process.ready["instance"]}
    for line in lines:
        assert datetime.fromisoformat(line["time"]).tzinfo is not None

    def of(method, level):
        (line,) = [line for line in lines if line.get("method") == method and line["level"] == level]
        return line

    assert of("warns", "WARNING")["message"] == "it is warm\nvery \x1b[2J"
    assert of("warns", "WARNING")["caller"].startswith("local/")
    assert of("warns", "WARNING")["call"] == of("warns", "DEBUG")["call"]
    assert of("warns_later", "WARNING")["caller"] == "awi/anna"
    assert of("warns", "DEBUG")["outcome"] == "ok"
    assert of("warns", "DEBUG")["seconds"] >= 0
    assert of("raises", "DEBUG")["outcome"] == "remote_error"
    assert "raise ValueError" in of("raises", "ERROR")["exception"]
    assert {line["caller"] for line in lines if line.get("outcome") == "denied"} == {"gfz/eve"}


def test_what_is_logged_in_a_worker_belongs_to_its_call_too(network):
    process = network.serve(SERVED, "awi/apart", "--log-format", "json", "--log-level", "debug")
    assert network.run("call", "awi/apart.warns_apart", "--value", "x", "--profile", "awi/anna").returncode == 0
    assert network.run("call", "awi/apart.raises_apart").returncode == 6
    assert network.run("call", "awi/apart.crashes_apart").returncode == 6
    process.stop()
    warned, raised, crashed = (
        {line["level"]: line for line in json_lines(process) if line.get("method") == method}
        for method in ("warns_apart", "raises_apart", "crashes_apart")
    )
    assert warned["WARNING"]["message"] == "it is warm\nvery \x1b[2J"
    assert warned["WARNING"]["logger"] == "ocean"
    assert (warned["WARNING"]["caller"], warned["WARNING"]["call"]) == ("awi/anna", warned["DEBUG"]["call"])
    assert "raise ValueError" in raised["ERROR"]["exception"]
    assert "raise ValueError" not in raised["ERROR"]["message"]
    assert raised["ERROR"]["call"] == raised["DEBUG"]["call"]
    assert raised["DEBUG"]["outcome"] == "remote_error"
    assert crashed["ERROR"]["call"] == crashed["DEBUG"]["call"]
    assert crashed["DEBUG"]["outcome"] == "crashed"


def test_lines_for_people_name_the_call_that_served_code_logged_in(network):
    process = network.serve(SERVED, "awi/told")
    assert network.run("call", "awi/told.warns", "--value", "x", "--profile", "awi/anna").returncode == 0
    assert network.run("call", "awi/told.warns_apart", "--value", "x", "--profile", "awi/otto").returncode == 0
    process.stop()
    for caller in ("anna", "otto"):
        assert re.search(rf"WARNING it is warm \(call [0-9a-f]{{32}} of awi/{caller}\)\n  \| very", process.stderr)
    assert "DEBUG" not in process.stderr


def test_metrics_are_shown_where_serve_says(network):
    process = network.serve(SERVED, "awi/shown", "--metrics")
    assert network.run("call", "awi/shown.warns_later").returncode == 0
    assert process.ready["metrics"] in process.stderr
    with urllib.request.urlopen(process.ready["metrics"], timeout=10) as answer:
        text = answer.read().decode()
    assert 'landbridge_calls_ended_total{module="awi/shown",method="warns_later",outcome="ok"} 1\n' in text
    assert 'landbridge_calls_begun_total{module="awi/shown",method="raises"} 0\n' in text
    with urllib.request.urlopen(process.ready["metrics"].replace("metrics", "healthz"), timeout=10) as answer:
        assert answer.read() == b"ok\n"
    taken = process.ready["metrics"].rpartition(":")[2].partition("/")[0]
    file = network.folder / "second.py"
    file.write_text(SERVED)
    done = network.run("serve", str(file), "--as", "awi/second", "--json", "--metrics", taken)
    assert (done.returncode, error_code(done.stdout)) == (5, "not_configured")
    assert process.stop() == 0


def test_a_port_that_cannot_be_one_is_refused(network):
    done = network.run("serve", "x.py", "--as", "awi/x", "--json", "--metrics", "65536")
    assert (done.returncode, error_code(done.stdout)) == (2, "usage")
