"""What the README tells a newcomer to do, done word by word."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from network import running_network

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL))
SCRIPTS = re.findall(r"<!-- run -->\n```python\n(.*?)```", README, re.DOTALL)
SESSIONS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)


def commands(session: str) -> list[tuple[list[str], str]]:
    """Return the commands of a session, and what the README shows each to print."""
    parts = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    return [(shlex.split(line)[1:], shown) for line, _, shown in (part.partition("\n") for part in parts)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with running_network(tmp_path_factory.mktemp("readme")) as network:
        network.serve(FILES["ocean.py"], "geomar/ocean")
        yield network


def test_the_readme_has_what_these_tests_look_for():
    assert list(FILES) == ["ocean.py"]
    assert len(SCRIPTS) == 2
    assert [words[0] for words, _ in commands(SESSIONS[0])] == ["up", "serve"]


@pytest.mark.parametrize(("words", "shown"), commands(SESSIONS[1]), ids=lambda value: " ".join(value)[:50])
def test_commands_of_the_tour_print_what_is_shown(served, words, shown):
    run = served.run(*words)
    assert run.returncode == 0, run.stderr
    if shown:
        assert run.stdout == shown
    else:
        assert "geomar/ocean" in run.stdout


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_scripts_of_the_tour_run(served, number):
    run = served.python(SCRIPTS[number])
    assert run.returncode == 0, run.stderr


def test_sharing_with_another_institute_works_as_told(served):
    ((words, _),) = commands(SESSIONS[2])
    shares = words[words.index("--share") :]
    served.serve(FILES["ocean.py"], "geomar/shared", *shares)
    asked = ("call", "geomar/shared.climatology", "--first", "2006", "--last", "2010")
    assert served.run(*asked, LANDBRIDGE_PROFILE="awi/bob").stdout == "26.54\n"
    assert served.run(*asked, LANDBRIDGE_PROFILE="gfz/anna").stdout == "26.54\n"
    assert served.run(*asked, LANDBRIDGE_PROFILE="gfz/otto").returncode == 4
