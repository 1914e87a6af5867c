"""Who the backends of a module are on this computer, over restarts; with real locks of real processes."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from landbridge.errors import InvalidName
from landbridge.hub.backends import Instances, module_folder, module_key, values_folder


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def claimed_elsewhere() -> str:
    """Claim an id in another process, which ends at once."""
    program = "from landbridge.hub.backends import Instances; print(Instances('geomar/ocean').claim())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_an_id_that_an_ended_backend_has_left_is_taken_again():
    first = claimed_elsewhere()
    assert len(first) == 32
    values_folder("geomar/ocean", first).mkdir()
    assert claimed_elsewhere() == first
    assert Instances("geomar/ocean").claim() == first


def test_no_two_processes_have_one_id_at_a_time():
    mine = Instances("geomar/ocean").claim()
    here = Instances("geomar/ocean")
    others = [here.claim() for _ in range(3)]
    assert len({mine, *others, claimed_elsewhere()}) == 5


def test_modules_have_ids_of_their_own():
    assert Instances("geomar/ocean").claim() != Instances("geomar/other").claim()


def test_an_id_that_is_given_back_leaves_nothing_behind_but_what_is_kept():
    instances = Instances("geomar/ocean")
    empty, used = instances.claim(), instances.claim()
    values_folder("geomar/ocean", used).mkdir()
    (values_folder("geomar/ocean", used) / "value").write_text("kept")
    instances.give_back(empty)
    instances.give_back(used)
    assert not values_folder("geomar/ocean", empty).parent.exists()
    assert claimed_elsewhere() == used


def test_a_module_has_one_key_for_good():
    key = module_key("geomar/ocean")
    assert module_key("geomar/ocean") == key
    assert module_key("geomar/other") != key


@pytest.mark.parametrize("module", ["../../etc", "geomar", "geomar/../x", "", "geomar/ocean.climatology/../../x"])
def test_what_is_no_address_is_no_folder(module):
    with pytest.raises(InvalidName):
        Instances(module)


def test_what_else_is_kept_of_a_module_is_no_id_of_a_backend():
    first = Instances("geomar/ocean")
    instance = first.claim()
    for name in ("audit", "values", "0" * 31, "g" * 32):
        (module_folder("geomar/ocean") / name).mkdir()
    others = Instances("geomar/ocean")
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in (instance, others.claim(), others.claim()))
