"""From nothing to a result with the commands alone."""

from __future__ import annotations

import json


def test_ls_shows_each_module_with_its_state_and_summary(network):
    done = network.run("ls")
    assert done.returncode == 0
    assert ["geomar/ocean", "online", "Sea", "surface", "temperature."] in map(str.split, done.stdout.splitlines())


def test_ls_json_lists_what_the_catalogue_knows(network):
    listed = {entry["module"]: entry for entry in json.loads(network.run("ls", "--json").stdout)}
    assert listed["geomar/ocean"]["online"] is True
    assert listed["geomar/ocean"]["backends"] == 1
    assert listed["geomar/ocean"]["version"] == "1.2"
    assert not any(name.startswith("lb/") for name in listed)


def test_a_module_that_was_stopped_is_listed_as_offline(network):
    network.serve("__all__ = ['f']\ndef f(): ...", "gfz/short").stop()
    done = network.run("ls")
    line = next(line for line in done.stdout.splitlines() if line.startswith("gfz/short"))
    assert "offline since 2" in line
    called = network.run("call", "gfz/short.f", "--json")
    assert called.returncode == 5
    assert json.loads(called.stdout)["error"]["code"] == "offline"


def test_describe_shows_the_signatures_of_a_module(network):
    done = network.run("describe", "geomar/ocean")
    assert done.returncode == 0
    assert "add(a: int, b: int = 2) -> int\n      Add two numbers." in done.stdout


def test_describe_shows_types_units_defaults_and_members(network):
    shown = network.run("describe", "geomar/ocean.mean").stdout
    assert "depth : float, in m, default 0.0" in shown
    assert "First year." in shown
    assert "WINTER = 'djf'" in shown
    assert "west : float, in degrees_east, default -20.0" in shown


def test_describe_json_is_the_description_that_travels(network):
    spec = json.loads(network.run("describe", "geomar/ocean.add", "--json").stdout)
    assert spec["module"] == "geomar/ocean"
    assert [p["name"] for p in spec["parameters"]] == ["a", "b"]
    assert json.loads(network.run("describe", "geomar/ocean", "--json").stdout)["name"] == "geomar/ocean"


def test_unknown_names_come_with_what_was_probably_meant(network):
    assert "Did you mean 'mean'" in network.run("describe", "geomar/ocean.maen").stderr
    assert "Did you mean 'geomar/ocean'" in network.run("describe", "geomar/ocaen").stderr


def test_what_strangers_write_cannot_steer_the_terminal(network):
    for words in (
        ["ls"], ["ls", "--json"], ["describe", "evil/trap"], ["describe", "evil/trap", "--json"],
        ["describe", "evil/trap.trap"], ["call", "evil/trap.trap", "--help"], ["call", "evil/trap.trap"],
        ["doctor", "evil/trap"],
    ):  # fmt: skip
        done = network.run(*words)
        shown = done.stdout + done.stderr
        assert "trap" in shown
        assert not set(shown) & set("\x1b\x07\x9b\u202e"), words


def test_an_address_of_another_form_is_a_usage_error(network):
    for words in (["describe", "ocean"], ["call", "geomar/ocean"], ["call", "ocean"], ["call"]):
        assert network.run(*words).returncode == 2, words
