"""How commands end, whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from landbridge.cli.console import clip, json_text, table
from landbridge.cli.ending import EXIT_CODES
from landbridge.errors import LandbridgeError
from network import COMMAND


def test_every_code_of_an_error_has_an_exit_code():
    def codes(cls):
        yield from (code for sub in cls.__subclasses__() for code in (sub.code, *codes(sub)))

    assert set(codes(LandbridgeError)) <= set(EXIT_CODES)
    assert 0 not in EXIT_CODES.values()


def test_help_imports_no_command():
    script = (
        "import sys\nfrom landbridge.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: code = end.code\n"
        "heavy = {'numpy', 'nats', 'pydantic', 'xarray', 'msgpack', 'landbridge.client', 'landbridge.hub'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\nassert code == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("up", "serve", "ls", "describe", "call", "doctor", "demo"):
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("words", [["serv"], ["ls", "x"], ["ls", "--jsn"], ["serve"], ["describe"]])
def test_a_wrong_command_line_ends_with_2(words):
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("landbridge: ")
    assert "--help" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["up", "--help"], ["call", "--help"]])
def test_help_ends_with_0(words):
    assert subprocess.run([*COMMAND, *words], capture_output=True, check=False).returncode == 0


def test_json_keeps_what_steers_a_terminal_only_as_escapes():
    text = json_text(["\x1b[2J\x9b31m\u202e\x7f°C"])
    assert not set(text) & set("\x1b\x9b\u202e\x7f")
    assert "°C" in text
    assert json.loads(text) == ["\x1b[2J\x9b31m\u202e\x7f°C"]


def test_columns_stay_in_line_with_wide_characters():
    lines = table(("a", "b"), [("海", "x"), ("xyz", "y")]).splitlines()
    assert lines == ["a    b", "海   x", "xyz  y"]
    assert clip("海温海温", 5) == "海温…"
