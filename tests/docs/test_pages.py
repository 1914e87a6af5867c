"""What README and guide tell a newcomer to do, done word by word."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from network import running_network

ROOT = Path(__file__).resolve().parents[2]


class Page:
    """A page, taken apart: files to serve, scripts to run, sessions in a shell."""

    def __init__(self, name: str) -> None:
        text = (ROOT / name).read_text(encoding="utf-8")
        self.files = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", text, re.DOTALL))
        self.scripts = re.findall(r"<!-- run -->\n```python\n(.*?)```", text, re.DOTALL)
        self.sessions = [commands(session) for session in re.findall(r"```console\n(.*?)```", text, re.DOTALL)]


def commands(session: str) -> list[tuple[list[str], str]]:
    """Return the commands of a session, and what the README shows each to print."""
    parts = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    return [(shlex.split(line)[1:], shown) for line, _, shown in (part.partition("\n") for part in parts)]


README, GUIDE = Page("README.md"), Page("docs/guide.md")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with running_network(tmp_path_factory.mktemp("pages")) as network:
        network.serve(README.files["ocean.py"], "geomar/ocean")
        network.serve(GUIDE.files["waves.py"], "hereon/waves")
        network.serve(GUIDE.files["fit.py"], "hereon/fit")
        yield network


def test_the_pages_have_what_these_tests_look_for():
    assert list(README.files) == ["ocean.py"]
    assert list(GUIDE.files) == ["waves.py", "fit.py"]
    assert (len(README.scripts), len(GUIDE.scripts)) == (2, 8)
    assert [words[0] for words, _ in README.sessions[0]] == ["up", "serve"]
    assert len(README.sessions[1]) == 4
    assert len(GUIDE.sessions[1]) == 3
    assert [words[0] for words, _ in GUIDE.sessions[2]] == ["serve", "serve"]


@pytest.mark.parametrize(
    ("words", "shown"), [*README.sessions[1], *GUIDE.sessions[1]], ids=lambda value: " ".join(value)[:50]
)
def test_commands_print_what_is_shown(served, words, shown):
    run = served.run(*words)
    assert run.returncode == 0, run.stderr
    if shown:
        assert run.stdout == shown
    else:
        assert "geomar/ocean" in run.stdout or "hereon/waves" in run.stdout


SCRIPTS = {f"{name} {number}": script for name, page in (("README", README), ("guide", GUIDE))
           for number, script in enumerate(page.scripts, 1)}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_run(served, name):
    run = served.python(SCRIPTS[name])
    assert run.returncode == 0, run.stderr


def test_sharing_with_another_institute_works_as_told(served):
    ((words, _),) = README.sessions[2]
    shares = words[words.index("--share") :]
    served.serve(README.files["ocean.py"], "geomar/shared", *shares)
    asked = ("call", "geomar/shared.climatology", "--first", "2006", "--last", "2010")
    assert served.run(*asked, LANDBRIDGE_PROFILE="awi/bob").stdout == "26.54\n"
    assert served.run(*asked, LANDBRIDGE_PROFILE="gfz/anna").stdout == "26.54\n"
    assert served.run(*asked, LANDBRIDGE_PROFILE="gfz/otto").returncode == 4


@pytest.mark.parametrize("words", [words for words, _ in GUIDE.sessions[2]], ids=" ".join)
def test_serving_with_options_works_as_told(served, words):
    options = words[words.index("--as") + 2 :]
    process = served.serve(GUIDE.files["waves.py"], "hereon/optional", *options)
    assert process.ready["event"] == "serving"
    assert process.stop() == 0
