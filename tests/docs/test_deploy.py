"""The units and the image of deploy/: what they run is there, with the options that they give."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PYPROJECT = (DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8")


def help_of(command: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "landbridge", command, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    return ran.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_command_that_there_is(unit):
    text = unit.read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=/opt/landbridge/bin/landbridge (.*)$", text, re.MULTILINE)
    shown = help_of(line.split()[0])
    for option in re.findall(r"--[a-z-]+", line):
        assert option in shown
    for section in ("[Unit]", "[Service]", "[Install]"):
        assert section in text
    # Whatever breaks in it, the rest of the computer is out of reach, and keys are for this user only.
    assert {"User=landbridge", "NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077"} <= set(text.splitlines())


def test_there_is_a_unit_for_each_that_the_page_names():
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(landbridge-\S+\.service)`", page, re.MULTILINE)) == sorted(
        unit.name for unit in UNITS
    )
    for command, line in re.findall(r"^ *(?:podman exec broker landbridge|up) (\S*)(.*)$", page, re.MULTILINE):
        words = command if command.startswith("--") else ""
        for option in re.findall(r"--[a-z-]+", words + line):
            assert option in help_of("up")


def test_the_image_installs_extras_that_there_are():
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    (extras,) = re.findall(r"'/src\[(.*?)\]'", text)
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", PYPROJECT, re.MULTILINE)
    assert "USER landbridge" in text
