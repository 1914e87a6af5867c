"""The examples in docstrings do what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import landbridge

# The package `remote` has no docstring examples, and looks for a network when its submodules are imported.
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(landbridge.__path__, "landbridge.", onerror=lambda name: None)
    if not module.name.startswith("landbridge.remote.") and not module.name.endswith("__main__")
)


def test_there_are_examples_to_test():
    finder = doctest.DocTestFinder()
    examples = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(examples) > 30


@pytest.mark.parametrize("name", ["landbridge", *MODULES])
def test_examples_in_docstrings_do_what_they_show(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0
