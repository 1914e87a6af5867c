"""How many institutes a network can have."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from landbridge.errors import NotConfigured
from landbridge.hub.keys import NetworkKeys


def with_institutes(count: int) -> NetworkKeys:
    """Return a network of many institutes, which share their keys: making them would take its time."""
    keys = NetworkKeys.create(secrets.token_bytes, now=1).add_institute("awi", secrets.token_bytes, now=1)
    return replace(keys, institutes={f"i{number}": keys.institutes["awi"] for number in range(count)})


def test_institutes_join_until_a_broker_would_refuse_the_token_of_the_account():
    keys = with_institutes(300).add_institute("gfz", secrets.token_bytes, now=2)
    assert len(keys.net_jwt()) < 850_000
    full = with_institutes(400)
    with pytest.raises(NotConfigured, match=r"gfz cannot join.*400 institutes.*850,000"):
        full.add_institute("gfz", secrets.token_bytes, now=2)
    assert full.add_institute("i7", secrets.token_bytes, now=2) is full


def test_the_keys_of_a_network_that_grew_beyond_that_are_still_read(tmp_path):
    keys = with_institutes(1_000)
    keys.save(tmp_path)
    assert (tmp_path / "keys.json").stat().st_size > 256 * 1024
    assert NetworkKeys.load(tmp_path) == keys
