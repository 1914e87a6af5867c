"""A module can be found again by another process."""

from __future__ import annotations

import json.decoder
import sys
from types import ModuleType

import pytest

from landbridge.backend.loading import load, source_of


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_file_a_package_and_a_name_are_found_again(tmp_path, monkeypatch):
    (tmp_path / "lone.py").write_text("here = 1\n")
    (tmp_path / "statistics.py").write_text("here = 2\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("here = 3\n")
    monkeypatch.chdir(tmp_path)
    import statistics  # noqa: F401 - so that its name is taken

    for what, found in [("lone.py", "lone.py"), ("statistics.py", "statistics.py"), ("pack", "pack")]:
        assert source_of(load(what)) == str(tmp_path / found)
    assert source_of(load("json.decoder")) == "json.decoder"
    assert source_of(load("json")) == str(json.__path__[0])
    assert source_of(load("math")) in ("math", None)  # built in, or a file that is no Python


def test_a_module_made_by_hand_is_not(tmp_path):
    assert source_of(ModuleType("by_hand")) is None
