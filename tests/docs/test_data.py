"""What docs/data.md tells, done word by word."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from network import running_network

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", TEXT, re.DOTALL))
SCRIPTS = re.findall(r"<!-- run -->\n```python\n(.*?)```", TEXT, re.DOTALL)
(MAKES,) = re.findall(r"<!-- make -->\n```python\n(.*?)```", TEXT, re.DOTALL)
((SERVES,),) = [re.findall(r"^\$ landbridge (serve .*)$", TEXT, re.MULTILINE)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, "-c", MAKES], cwd=folder, check=True)
    command, pattern, *options = shlex.split(SERVES)
    with running_network(tmp_path_factory.mktemp("network")) as network:
        network.start(command, str(folder / pattern), *options, "--json")
        network.serve(FILES["ocean.py"], "geomar/ocean")
        network.serve(FILES["stats.py"], "gfz/stats")
        yield network


def test_the_page_has_what_these_tests_look_for():
    assert list(FILES) == ["ocean.py", "stats.py"]
    assert len(SCRIPTS) == 7


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_scripts_run_as_they_are(served, number):
    run = served.python(SCRIPTS[number])
    assert run.returncode == 0, run.stderr
