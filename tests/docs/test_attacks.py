"""Each row of docs/attacks.md names a test that there is, and each attack of the matrix has a row."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INTEGRATION = "tests/integration/"
TEXT = (ROOT / "docs/attacks.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| `(\S+\.py::.+)` \|$", TEXT, re.MULTILINE)
CONTROLS = {
    "test_an_invitation_says_by_which_key_an_institute_is_known_that_was_not_known_before",
    "test_an_issuer_vouches_for_the_module_of_who_asks",
    "test_everybody_calls_under_their_own_name_what_is_shared_with_them",
    "test_everybody_has_their_own_credential_renewed_even_when_all_else_has_expired",
    "test_a_module_is_taken_for_one_of_awi_by_its_word_and_a_proof_for_who_asks",
    "test_who_may_changes_the_keys_of_an_institute",
    "test_whoever_keeps_a_value_has_it",
}
"""What whoever may does, beside those who may not."""


@pytest.fixture(scope="module")
def tests() -> list[str]:
    """Return the ids of all tests of the files that the page names."""
    files = sorted({f"{INTEGRATION}{test.partition('::')[0]}" for _, _, test in ROWS})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", *files],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [line.removeprefix(INTEGRATION) for line in ran.stdout.splitlines() if "::" in line]


def test_there_are_many_attempts_each_told_once():
    assert len(ROWS) >= 80
    assert len({(tried, test) for tried, _, test in ROWS}) == len(ROWS)


def plain(test: str) -> str:
    """Return the id of a test with single backslashes: pytest doubles them."""
    return re.sub(r"\\+", r"\\", test)


def test_every_row_names_a_test(tests):
    names = {test.partition("[")[0] for test in tests}

    def is_there(named: str) -> bool:
        beginning = plain(named).removesuffix("…]")
        return any(plain(test).startswith(beginning) for test in tests) if "[" in named else named in names

    assert [named for _, _, named in ROWS if not is_there(named)] == []


def test_every_attack_of_the_matrix_has_a_row(tests):
    named = {test.partition("[")[0] for _, _, test in ROWS}
    matrix = {test.partition("[")[0] for test in tests if test.startswith("attacks/")}
    assert {test.rpartition("::")[2] for test in matrix - named} == CONTROLS


def test_the_number_that_is_told_is_that_of_the_rows():
    (told,) = re.findall(r"^(\d+) attempts\.", TEXT, re.MULTILINE)
    assert int(told) == len(ROWS)
