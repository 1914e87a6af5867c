"""The file that makes whoever holds it the operator."""

from __future__ import annotations

import json
import secrets
import sys

import pytest

from landbridge.errors import InvalidName, NotConfigured
from landbridge.hub import NetworkKeys
from landbridge.security import decode_jwt, verify_jwt


@pytest.fixture(scope="module")
def keys():
    return NetworkKeys.create(secrets.token_bytes, now=100).add_institute("awi", secrets.token_bytes, now=100)


def seeds(keys):
    own = [keys.operator, keys.system, keys.system_user, keys.net, keys.jobs]
    return [pair.seed for pair in (*own, *keys.institutes["awi"].values())]


def test_keys_read_again_are_the_same(keys, tmp_path):
    keys.save(tmp_path)
    assert NetworkKeys.load(tmp_path) == keys


def test_all_keys_differ(keys):
    assert len(set(seeds(keys))) == 9


def test_tokens_are_the_same_each_time_they_are_made(keys):
    assert keys.account_jwts() == keys.account_jwts()
    assert keys.operator_jwt() == keys.operator_jwt()


def test_accounts_are_signed_by_the_operator_and_known_by_their_keys(keys):
    for public, token in keys.account_jwts().items():
        assert verify_jwt(token, issuers=[keys.operator.public])["sub"] == public


def test_only_the_account_of_jobs_may_store_and_only_that_of_calls_has_signing_keys(keys):
    nats = {public: decode_jwt(token)["nats"] for public, token in keys.account_jwts().items()}
    assert [public for public, claims in nats.items() if "disk_storage" in claims["limits"]] == [keys.jobs.public]
    assert [public for public, claims in nats.items() if "signing_keys" in claims] == [keys.net.public]


def test_institute_that_is_there_keeps_its_keys(keys):
    assert keys.add_institute("awi", secrets.token_bytes, now=500) is keys


def test_change_is_later_than_the_last_even_if_the_clock_was_set_back(keys):
    first = keys.add_institute("gfz", secrets.token_bytes, now=50)
    second = first.add_institute("geomar", secrets.token_bytes, now=50)
    assert keys.changed < first.changed < second.changed


def test_names_of_the_network_itself_can_be_added_but_no_other_reserved_ones(keys):
    assert {"lb", "local"} <= set(
        keys.add_institute("lb", secrets.token_bytes, now=1)
        .add_institute("local", secrets.token_bytes, now=1)
        .institutes
    )
    for name in ("id", "close", "*", "a.b"):
        with pytest.raises(InvalidName):
            keys.add_institute(name, secrets.token_bytes, now=1)


def test_no_seed_is_shown(keys):
    assert not any(seed in repr(keys) for seed in seeds(keys))


def test_missing_file_says_how_to_make_a_network(tmp_path):
    with pytest.raises(NotConfigured, match="landbridge up"):
        NetworkKeys.load(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_file_is_closed_to_others_and_refused_when_it_is_not(keys, tmp_path):
    keys.save(tmp_path)
    path = tmp_path / "keys.json"
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o644)
    with pytest.raises(NotConfigured, match="chmod 600"):
        NetworkKeys.load(tmp_path)


def damage(change):
    def changed(text):
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        damage(lambda content: content.pop("net")),
        damage(lambda content: content.update(version=3)),
        damage(lambda content: content.update(net=content["operator"])),
        damage(lambda content: content.update(net=content["net"][:-1])),
        damage(lambda content: content.update(net=5)),
        damage(lambda content: content["institutes"].update({"a.b": content["institutes"]["awi"]})),
        damage(lambda content: content["institutes"]["awi"].pop("serve")),
        damage(lambda content: content.update(institutes=[])),
        damage(lambda content: content.update(changed=None)),
    ],
    ids=range(13),
)
def test_damaged_file_is_refused_without_showing_a_key(keys, tmp_path, change):
    keys.save(tmp_path)
    path = tmp_path / "keys.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(NotConfigured, match="damaged") as caught:
        NetworkKeys.load(tmp_path)
    assert not any(seed in str(caught.value) for seed in seeds(keys))
