"""What docs/networks.md and docs/stewards.md tell people to do, done word by word."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

from computers import Computer
from landbridge.security import parse_policy
from network import running_network

DOCS = Path(__file__).resolve().parents[2] / "docs"
NETWORKS = (DOCS / "networks.md").read_text(encoding="utf-8")
STEWARDS = (DOCS / "stewards.md").read_text(encoding="utf-8")
OCEAN = "__all__ = ['mean']\ndef mean(a: float) -> float:\n    return a\n"


def test_a_network_is_founded_and_joined_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = re.findall(r"^(operator|gfz|anna|awi)\$ landbridge (.*)$", NETWORKS, re.MULTILINE)
    assert [f"{who} {words.split()[0]}" for who, words in said] == [
        "operator up", "operator invite",
        "gfz join", "gfz whoami", "gfz admit",
        "gfz invite", "anna join", "anna whoami", "gfz whoami", "gfz revoke", "gfz rotate",
        "awi trust", "awi trust",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        computers = {who: Computer(tmp_path / who, stack) for who in ("operator", "gfz", "anna", "awi")}
        for who, line in said:
            computer, words = computers[who], shlex.split(line)
            if words[0] in ("up", "admit"):
                computer.start(*words, "--json")
                continue
            if words[0] == "trust" and not list(computer.profiles.glob("*")):
                invitation = computers["operator"].json("invite", "institute", "awi")["invitation"]
                computer.run("join", given=invitation)
                computers["gfz"].serve(OCEAN, "gfz/ocean", "--share", "awi/*")
                assert computer.run("call", "gfz/ocean.mean", "--a", "1").stdout == "1.0\n"
            shown = computer.run(*words).stdout
            if words == ["whoami"]:
                assert f"{who}/" in shown if who == "gfz" else "gfz/anna" in shown
            if words == ["whoami", "--members"]:
                assert re.search(r"^anna +member .* ocean, waves$", shown, re.MULTILINE)
        root = computers["gfz"].json("whoami")["fingerprint"]
        assert shown == f"known here       {root}\nin the network   {root}\n"
        assert "refuses the credentials" in computers["anna"].run("ls", code=5).stderr


def test_what_a_steward_is_told_to_do_works(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", STEWARDS, re.DOTALL)
    policy = parse_policy(text, "ocean")
    assert [rule.who for rule in policy.rules] == ["awi/anna", "hereon/tom"]
    assert policy.audit == "required"
    commands = [shlex.split(line) for line in re.findall(r"^\$ landbridge (.*)$", STEWARDS, re.MULTILINE)]
    assert [words[0] for words in commands] == ["share", "audit", "audit"]
    with running_network(tmp_path) as network:
        network.serve(OCEAN, "geomar/ocean")
        assert network.run("call", "geomar/ocean.mean", "--a", "1").returncode == 0
        for words in commands:
            ran = network.run(*words)
            assert ran.returncode == 0, ran.stderr
