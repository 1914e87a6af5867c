"""Which files belong to what is served, and that a change of them shows."""

from __future__ import annotations

import os

import pytest

from landbridge.hub import watch
from landbridge.hub.watch import snapshot


@pytest.fixture
def tree(tmp_path):
    for name in ("ocean.py", "beside.py", "notes.txt", "package/__init__.py", "package/inner.py", "data/other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    return tmp_path


def test_python_files_beside_and_packages_below_belong_to_it(tree):
    seen = snapshot(tree / "ocean.py")
    assert {os.path.relpath(path, tree) for path in seen} == {
        "ocean.py", "beside.py", "package/__init__.py", "package/inner.py",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ocean.py", "beside.py", "package/inner.py", "package/new.py"])
def test_changed_added_and_removed_files_show(tree, name):
    before = snapshot(tree / "ocean.py")
    (tree / name).write_text("x = 10\n")
    changed = snapshot(tree / "ocean.py")
    assert changed != before
    (tree / name).unlink()
    assert snapshot(tree / "ocean.py") not in (changed, before) or name == "package/new.py"


def test_no_more_files_than_a_bound_and_the_served_one_among_them(tree, monkeypatch):
    monkeypatch.setattr(watch, "MOST_FILES", 2)
    assert [os.path.basename(path) for path in snapshot(tree / "ocean.py")] == ["ocean.py", "beside.py"]


def test_a_folder_that_has_gone_has_nothing(tmp_path):
    assert snapshot(tmp_path / "gone" / "ocean.py") == {}
