"""What commands ask of a network, however large it is."""

from __future__ import annotations

import json

import pytest

from landbridge.cli.network import connected, listed_modules
from landbridge.client.lookup import items
from landbridge.client.loop import wait_for
from landbridge.errors import Malformed, TooLarge
from landbridge.names import Address
from network import running_network

from .conftest import error_code


def test_a_catalogue_of_thousands_of_modules_with_long_texts_is_listed_whole(tmp_path):
    modules = [f"institute{number % 8}/module{number}" for number in range(3_600)]
    kept = {name: {"summary": "海" * 200, "version": "1", "seen": 1.0} for name in modules}
    local = tmp_path / "state" / "landbridge" / "local"
    local.mkdir(parents=True, mode=0o700)
    (local / "catalogue.json").touch(mode=0o600)
    (local / "catalogue.json").write_text(json.dumps(kept))
    with running_network(tmp_path) as network:
        done = network.run("ls", "--json")
        assert sorted(entry["module"] for entry in json.loads(done.stdout)) == sorted(modules), done.stderr
        # Who connects has learnt of it, too: otherwise this would be an unknown module.
        assert error_code(network.run("call", "institute7/module7.f", "--json").stdout) == "offline"


@pytest.fixture
def link(network, monkeypatch):
    network.serve("__all__ = ['many', 'one']\ndef many(n: int):\n    for _ in range(n): yield bytes(8_000_000)\n"
                  "def one() -> int: return 1\n", "awi/stream")  # fmt: skip
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, network.env[name])
    with connected(None) as link:
        yield link


def test_items_are_collected_only_up_to_a_limit(link):
    many = Address("awi", "stream", "many")
    assert wait_for(items(link, many, {"n": 3}, timeout_s=60.0)) == [bytes(8_000_000)] * 3
    with pytest.raises(TooLarge, match=r"awi/stream\.many"):
        wait_for(items(link, many, {"n": 1_000_000}, timeout_s=60.0))
    assert listed_modules(link)


def test_one_value_in_the_place_of_a_stream_is_malformed(link):
    with pytest.raises(Malformed, match="stream"):
        wait_for(items(link, Address("awi", "stream", "one"), {}, timeout_s=60.0))
