"""Issuing credentials while the broker runs, from several tasks and processes."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
import time

import pytest

from landbridge.errors import BrokerUnreachable, InvalidName
from landbridge.hub import keys_lock, mint
from landbridge.security import Credentials

MINT = """
import asyncio, secrets, sys, time
from pathlib import Path
from landbridge.hub import mint
credentials = asyncio.run(mint(Path(sys.argv[1]), sys.argv[2], sys.argv[3], now=int(time.time()),
                               random=secrets.token_bytes, urls=[sys.argv[4]]))
print(credentials.format())
"""


def test_new_institute_joins_a_running_broker_without_cutting_anybody(own_network):
    early = own_network.client("awi", "bob")
    late = own_network.client("hereon", "rita", "waves")
    assert not late.refuses_publish("lb.cat.hereon.waves")
    early.flush()
    assert early.refusals == []


def test_institute_that_joined_at_run_time_is_known_after_a_restart(own_network):
    credentials = own_network.issue("hereon", "rita")
    own_network.server.stop()
    own_network.start()
    own_network.client_of(credentials).flush()


def test_minting_again_gives_another_credential_and_changes_no_key(own_network):
    first = own_network.issue("hereon", "rita")
    keys = own_network.keys
    second = own_network.issue("hereon", "rita")
    assert own_network.keys == keys
    assert first.seed != second.seed
    for credentials in (first, second):
        own_network.client_of(credentials)


def test_tasks_that_mint_at_once_all_get_credentials_that_work(own_network):
    async def all_at_once():
        def one(institute, person):
            now = int(time.time())
            return mint(
                own_network.directory, institute, person, now=now, random=secrets.token_bytes, urls=[own_network.url]
            )

        return await asyncio.gather(*(one(f"inst{number % 3}", f"person{number}") for number in range(9)))

    for credentials in asyncio.run(all_at_once()):
        own_network.client_of(credentials)


def test_processes_that_mint_at_once_all_get_credentials_that_work(own_network):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MINT, str(own_network.directory), institute, person, own_network.url],
            stdout=subprocess.PIPE,
            text=True,
        )
        for institute, person in [("hereon", "rita"), ("hereon", "sam"), ("geomar", "tom")]
    ]
    try:
        texts = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for text in texts:
        own_network.client_of(Credentials.parse(text))


@pytest.mark.parametrize(
    ("institute", "person", "modules"),
    [
        ("awi", "*", ()),
        ("awi", "a.b", ()),
        ("awi", ">", ()),
        ("awi", "", ()),
        ("awi", "bob\r\n", ()),
        ("awi", "_X", ()),
        ("*", "bob", ()),
        ("a.b", "bob", ()),
        ("id", "bob", ()),
        ("close", "bob", ()),
        ("Awi", "bob", ()),
        ("awi", "bob", ("*",)),
        ("awi", "bob", ("stats", "a.b")),
        ("awi", "bob", ("stats", ">")),
        ("hereon", "bob", ("import",)),
    ],
)
def test_bad_name_is_refused_before_anything_is_changed(network, institute, person, modules):
    before = network.keys
    with pytest.raises(InvalidName):
        network.issue(institute, person, *modules)
    assert network.keys == before


def test_institute_that_the_broker_could_not_be_told_of_has_not_joined(own_network):
    own_network.server.stop()
    with pytest.raises(BrokerUnreachable):
        own_network.issue("hereon", "rita")
    assert "hereon" not in own_network.keys.institutes


def test_institute_joins_without_a_broker_and_is_known_when_one_starts(own_network):
    own_network.server.stop()
    credentials = asyncio.run(
        mint(own_network.directory, "hereon", "rita", now=int(time.time()), random=secrets.token_bytes, urls=[])
    )
    own_network.start()
    own_network.client_of(credentials)


@pytest.mark.parametrize("restart", [False, True])
def test_crash_between_telling_the_broker_and_keeping_the_keys_harms_nobody(own_network, restart):
    before = own_network.issue("awi", "bob")
    lost = own_network.keys.add_institute("hereon", secrets.token_bytes, now=int(time.time()))
    system = own_network.client_of(own_network.keys.system_user_credentials())
    system.subscribe("_INBOX.answer")
    system.publish("$SYS.REQ.CLAIMS.UPDATE", lost.net_jwt().encode(), reply="_INBOX.answer")
    assert b'"error"' not in system.wait_for_message().payload
    if restart:
        own_network.server.stop()
        own_network.start()
    for credentials in (before, own_network.issue("hereon", "rita")):
        own_network.client_of(credentials)


def test_lock_makes_the_next_one_wait_within_one_process(tmp_path):
    order = []

    async def hold(name, entered, leave):
        async with keys_lock(tmp_path):
            order.append(f"{name} in")
            entered.set()
            await leave.wait()
            order.append(f"{name} out")

    async def both():
        entered, leave = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(hold("first", entered, leave))
        await entered.wait()
        second = asyncio.create_task(hold("second", asyncio.Event(), leave))
        await asyncio.sleep(0)
        leave.set()
        await asyncio.gather(first, second)

    asyncio.run(both())
    assert order == ["first in", "first out", "second in", "second out"]
