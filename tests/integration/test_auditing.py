"""Who called what is written down, and can be read, searched, checked and exported."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time

import pytest

import landbridge as lb
from network import Network

SOURCE = """
import os, time
import landbridge as lb

__all__ = ["mean", "numbers", "fails", "dies", "Model", "waits"]

@lb.method(share=["awi/*"])
def mean(first: int) -> float:
    return first / 2

def numbers(n: int):
    yield from range(n)

def fails() -> None:
    raise KeyError("x")

def dies() -> None:
    os._exit(1)

def waits() -> None:
    while not lb.current_call().cancelled:
        time.sleep(0.01)

class Model:
    def step(self) -> int:
        return 1
"""


def audit(network: Network, module: str, *options: str):
    ran = network.run("audit", module, *options)
    assert "Traceback" not in ran.stderr
    return ran


def records(network: Network, module: str, *options: str) -> list[dict]:
    ran = audit(network, module, "--json", *options)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def until(what):
    deadline = time.monotonic() + 30
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_everything_that_was_called_is_there(network):
    served = network.serve(SOURCE, "geomar/audited")
    with lb.connect("geomar/me") as me, lb.connect("awi/anna") as anna:
        live = me["geomar/audited"]
        assert anna["geomar/audited"].mean(3) == 1.5
        assert list(live.numbers(3)) == [0, 1, 2]
        assert live.Model().step() == 1
        assert live.mean.keep(3).get() == 1.5
        with pytest.raises(lb.RemoteError):
            live.fails()
        with pytest.raises(lb.InvalidArguments):
            live.mean("three")
        live.waits.start().cancel()
        for _ in range(50):
            with pytest.raises(lb.PermissionDenied):
                anna._member("geomar/audited.numbers")
    network.run("share", "geomar/audited", "gfz/*")

    def all_there() -> list[dict]:
        found = records(network, "geomar/audited")
        return found if {"rules", "call"} == {each["event"] for each in found} and len(found) > 9 else []

    found = until(all_there)
    calls = {(each["caller"], each["member"], each["outcome"]) for each in found if each["event"] == "call"}
    assert {
        ("awi/anna", "mean", "ok"), ("geomar/me", "numbers", "ok"), ("geomar/me", "Model", "ok"),
        ("geomar/me", "Model.step", "ok"), ("geomar/me", "mean", "ok"), ("geomar/me", "reference.get", "ok"),
        ("geomar/me", "fails", "remote_error"), ("geomar/me", "mean", "invalid_arguments"),
        ("geomar/me", "waits", "cancelled"),
    } <= calls  # fmt: skip
    (one,) = [each for each in found if each.get("caller") == "awi/anna" and each["event"] == "call"]
    assert one["decision"] == "geomar/audited.mean is shared with awi/*"
    assert one["arguments"].startswith("sha256:")
    assert (one["bytes_in"] > 0, one["bytes_out"] > 0, one["microseconds"] > 0) == (True, True, True)

    assert {each["caller"] for each in records(network, "geomar/audited", "--caller", "awi")} == {"awi/anna"}
    assert {each["member"] for each in records(network, "geomar/audited.mean")} == {"mean"}
    assert len(records(network, "geomar/audited", "--outcome", "ok", "--last", "2")) == 2
    assert records(network, "geomar/audited", "--until", "2020-01-01") == []
    table = list(csv.DictReader(io.StringIO(audit(network, "geomar/audited", "--csv").stdout)))
    assert {row["outcome"] for row in table if row["event"] == "call"} >= {"ok", "remote_error"}
    assert "awi/anna" in audit(network, "geomar/audited").stdout
    assert served.running


def test_a_log_that_was_touched_is_told_and_one_that_was_cut_off_by_its_last_hash(network):
    network.serve(SOURCE, "geomar/touched")
    with lb.connect("geomar/me") as me:
        for number in range(5):
            me["geomar/touched"].mean(number)
    until(lambda: len(records(network, "geomar/touched")) >= 6)
    whole = audit(network, "geomar/touched", "--verify", "--json")
    assert whole.returncode == 0
    (told,) = json.loads(whole.stdout)
    assert (told["records"], told["faults"]) == (6, [])
    (file,) = network.folder.glob("state/landbridge/backends/geomar.touched/audit/*/audit.jsonl")
    text = file.read_text()
    lines = text.splitlines(keepends=True)
    seals = [number for number, line in enumerate(lines) if '"event":"sealed"' in line]
    file.write_text("".join(lines[: seals[-2] + 1 if len(seals) > 1 else 0]))  # what is left is sealed
    assert audit(network, "geomar/touched", "--verify").returncode == 0
    ran = audit(network, "geomar/touched", "--verify", "--head", told["head"])
    assert ran.returncode == 1
    assert "written anew, or cut off before it" in ran.stderr
    file.write_text(text + '{"number":99,"at":"2026","event":"call","caller":"awi/forged"}\n')
    ran = audit(network, "geomar/touched", "--verify")
    assert ran.returncode == 1
    assert "1 records before it were not sealed" in ran.stdout
    file.write_text(text.replace("geomar/me", "geomar/eve", 1))
    ran = audit(network, "geomar/touched", "--verify")
    assert ran.returncode == 1
    assert "was changed, taken out or put in" in ran.stdout
    file.write_text("rubbish\x1b[31m\n" + text)
    ran = audit(network, "geomar/touched")
    assert "no record" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_what_has_to_be_written_down_is_before_it_runs(network):
    served = network.serve(SOURCE, "geomar/required")
    folder = max(network.folder.glob("served_*"), key=lambda path: int(path.name.partition("_")[2]))
    (folder / "landbridge.toml").write_text('audit = "required"\n')
    until(lambda: [each for each in records(network, "geomar/required") if each.get("audit") == "required"])
    with lb.connect("geomar/me") as me:
        with pytest.raises(lb.CallLost):
            me["geomar/required"].dies()
        begun = [each for each in records(network, "geomar/required") if each["event"] == "begins"]
        assert [each["member"] for each in begun] == ["dies"]
        me["geomar/required"].mean(3)
        # A backend that is killed leaves a log that is whole, and the next one goes on with it.
        os.kill(json.loads(network.run("ls", "--json").stdout) and served.next_line()["pid"], signal.SIGKILL)
        served.next_line()
        assert until(lambda: me["geomar/required"].mean(3)) == 1.5
    until(lambda: sum(each["event"] == "call" for each in records(network, "geomar/required")) >= 1)
    assert audit(network, "geomar/required", "--verify").returncode == 0


def test_who_wants_no_log_has_none(network):
    network.serve(SOURCE, "geomar/unlogged")
    folder = max(network.folder.glob("served_*"), key=lambda path: int(path.name.partition("_")[2]))
    (folder / "landbridge.toml").write_text('audit = "off"\n')
    with lb.connect("geomar/me") as me:
        until(lambda: records(network, "geomar/unlogged")[-1].get("audit") == "off")
        before = len(records(network, "geomar/unlogged"))
        me["geomar/unlogged"].mean(3)
        time.sleep(0.5)
    assert len(records(network, "geomar/unlogged")) == before
    assert audit(network, "geomar/unlogged", "--verify").returncode == 0


def test_that_a_backend_stops_is_written_down(network):
    served = network.serve(SOURCE, "geomar/stopping")
    served.stop()
    assert [each["event"] for each in records(network, "geomar/stopping")] == ["rules", "stops"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["geomar/nowhere"], 5, "There is no audit log of geomar/nowhere"),
        (["geomar/audited", "--csv", "--json"], 2, "choose --csv or --json"),
        (["geomar/audited", "--head", "00"], 2, "goes with --verify"),
        (["geomar/audited", "--since", "soon"], 2, "--since is 'soon'; write it as 2026-11-26"),
        (["geomar/audited", "--until", "2026-11-26 12:30"], 2, "--until is '2026-11-26 12:30'"),
        (["geomar/audited", "--last", "0"], 2, "--last is 0"),
        (["../../etc"], 2, "may not name"),
    ],
)
def test_what_cannot_be_shown_is_told(network, words, code, said):
    ran = network.run("audit", *words)
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False)
    assert said in ran.stderr
