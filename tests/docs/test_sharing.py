"""What docs/sharing.md tells an owner to do, done word by word."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import pytest

import landbridge as lb
from landbridge.security import Caller, decide, parse_policy
from network import running_network

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "sharing.md").read_text(encoding="utf-8")
OCEAN = "__all__ = ['climatology']\ndef climatology(first: int) -> int:\n    return first\n"


def test_the_commands_do_what_they_say(tmp_path):
    commands = [shlex.split(line) for line in re.findall(r"^\$ landbridge (.*)$", TEXT, re.MULTILINE)]
    assert [words[0] for words in commands] == [
        *("share", "share", "revoke", "share"), *("share", *["approve"] * 3), *["audit"] * 4
    ]  # fmt: skip
    with running_network(tmp_path) as network:
        network.serve(OCEAN, "geomar/ocean")
        for words in commands[:4]:
            ran = network.run(*words)
            assert ran.returncode == 0, ran.stderr
        assert [line.split()[0] for line in ran.stdout.splitlines()] == ["who", "awi/*", "hzg/tom", "awi/mallory"]
        assert "100 calls an hour, 2 at a time" in ran.stdout
        with lb.connect("awi/anna") as anna:
            assert anna["geomar/ocean"].climatology(3) == 3
        approves(network, commands[4:8])
        shown = []
        deadline = time.monotonic() + 30
        while "awi/anna" not in "".join(shown):  # it is written some times a second
            assert time.monotonic() < deadline
            shown = []
            for words in commands[8:]:
                ran = network.run(*words)
                assert ran.returncode == 0, ran.stderr
                shown.append(ran.stdout)
        assert "sealed by" in shown[-1]


def approves(network, commands):
    """Share with approval, and let one result go and refuse another, as the page says."""
    share, look, let_go, refuse = commands
    assert network.run(*share).returncode == 0
    with lb.connect("gfz/anna") as anna:
        deadline = time.monotonic() + 30
        while True:  # it takes effect within a second
            try:
                climatology = anna["geomar/ocean"].climatology
                break
            except lb.PermissionDenied:
                assert time.monotonic() < deadline
        for words in (let_go, refuse):
            call = climatology.start(3)
            while not (found := json.loads(network.run("approve", "--json").stdout)):
                assert time.monotonic() < deadline
            assert "geomar/ocean.climatology for gfz/anna" in network.run(*look).stdout
            ran = network.run(*[found[0]["id"] if word == "1f2e3d4c" else word for word in words])
            assert ran.returncode == 0, ran.stderr
            if words is let_go:
                assert call.result(30) == 3
            else:
                with pytest.raises(lb.PermissionDenied, match="fewer than ten stations"):
                    call.result(30)


def test_the_file_says_what_the_page_says():
    (text,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    rules = parse_policy(text, "ocean").rules

    def allowed(institute: str, person: str, member: str) -> bool:
        return decide(Caller(institute, person), "geomar", "geomar/ocean", member, rules).allowed

    assert allowed("awi", "anna", "climatology")
    assert allowed("gfz", "anybody", "climatology")
    assert not allowed("gfz", "anybody", "other")
    assert not allowed("awi", "mallory", "climatology")
    assert decide(Caller("kiel", "tom"), "geomar", "geomar/ocean", "stations", rules).approve
    assert {str(condition) for condition in rules[0].conditions} == {"1980 to 2010", "one of nino34, nino12"}
