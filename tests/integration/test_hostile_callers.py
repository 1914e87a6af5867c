"""A caller who means harm: what one person takes of a backend, others do not miss."""

from __future__ import annotations

import secrets
import time

import pytest

import landbridge as lb
from integration.eve import Eve, memory_mb
from landbridge import wire
from landbridge.backend.usage import STREAMS_EACH, TRANSFERS_EACH
from landbridge.protocol import Kind, pack, unpack

SOURCE = """
__all__ = ["add", "ask", "blob", "count"]
from collections.abc import Callable
def add(a: int, b: int) -> int: return a + b
def ask(function: Callable[[int], int]) -> int: return function(1)
def blob(n: int) -> bytes: return bytes(n)
def count(n: int):
    for _ in range(n): yield bytes(20_000)
"""


@pytest.fixture(scope="module")
def victim(network):
    process = network.serve(SOURCE, "awi/victim", "--share", "*/*")
    yield process
    assert process.running
    assert "Traceback" not in process.stderr
    assert process.stop() == 0


@pytest.fixture(scope="module")
def bystander(network, victim):
    with lb.connect() as net:
        yield net.awi.victim.add.options(timeout_s=20)


@pytest.fixture
def eve(victim):
    with Eve("victim") as eve:
        yield eve


@pytest.fixture
def listening_eve(victim):
    with Eve("victim", listens=True) as eve:
        yield eve


@pytest.fixture(scope="module")
def instance(victim):
    """The id of the backend, as it tells everybody who has a call there."""
    with Eve("victim", listens=True) as eve:
        call_id = eve.call("count", granted=1 << 14, n=10_000)
        while (message := unpack(eve.raw.wait_for_message().payload)).kind is not Kind.BEAT:
            pass
        eve.control(message.meta["instance"], call_id, pack(Kind.CANCEL, 0))
        eve.flush()
    return message.meta["instance"]


def test_asking_for_the_same_again_and_again_costs_the_backend_little(victim, bystander, eve, instance):
    before = memory_mb(victim.pid)
    call_id = eve.call("blob", n=500_000)
    assert bystander(1, 2) == 3
    beat = pack(Kind.BEAT, 0, {"granted": 1 << 40, "next": 0, "resend": True})
    for _ in range(3000):  # 1.5 GB
        eve.control(instance, call_id, beat)
    eve.flush()
    assert bystander(20, 22) == 42
    assert memory_mb(victim.pid, "VmHWM") - before < 100


def test_claiming_to_have_got_what_nobody_could_have_got_does_not_fill_the_backend(victim, bystander, eve, instance):
    before = memory_mb(victim.pid)
    call_id = eve.call("count", n=1_000_000)
    beat = pack(Kind.BEAT, 0, {"granted": 1 << 40, "next": 1 << 30})
    for _ in range(500):
        eve.control(instance, call_id, beat)
        time.sleep(0.001)  # so that the stream produces in between, as fast as it can
    eve.flush()
    assert bystander(20, 22) == 42
    eve.control(instance, call_id, pack(Kind.CANCEL, 0))
    eve.flush()
    assert memory_mb(victim.pid, "VmHWM") - before < 150


def test_functions_that_never_answer_keep_no_thread_from_others(victim, bystander, listening_eve, instance):
    eve = listening_eve
    calls = [eve.call("ask", function=wire.Function(0)) for _ in range(STREAMS_EACH + 300)]
    codes, asked = [], set()
    while len(codes) < 300:
        delivered = eve.raw.wait_for_message()
        message = unpack(delivered.payload)
        if message.kind is Kind.INVOKE:
            asked.add(delivered.subject.split(".")[4])
        elif message.kind is Kind.ERROR:
            codes.append(message.meta["code"])
    assert set(codes) == {"busy"}
    assert len(asked) == STREAMS_EACH
    assert bystander(20, 22) == 42
    # Those that were asked can answer, and have their value.
    (one, *others) = [call_id for call_id in calls if call_id in asked]
    eve.control(instance, one, pack(Kind.RETURN, 1, {"ask": 0}) + b"".join(wire.encode(7)))
    while unpack((delivered := eve.raw.wait_for_message()).payload).kind is not Kind.RESULT:
        pass
    assert wire.decode(unpack(delivered.payload).body) == 7
    for call_id in others:
        eve.control(instance, call_id, pack(Kind.CANCEL, 0))
    eve.flush()


def test_ten_thousand_transfers_that_never_end_hold_only_what_has_come(victim, bystander, listening_eve, instance):
    eve = listening_eve
    before = memory_mb(victim.pid)
    calls = [secrets.token_hex(16) for _ in range(3000)]
    for call_id in calls:
        eve.request("blob", pack(Kind.CALL, 0, {"granted": 1 << 20, "total": 1 << 26}), call_id)
    refused = 0
    while refused < len(calls) - TRANSFERS_EACH:
        message = unpack(eve.raw.wait_for_message().payload)
        if message.kind is Kind.ERROR:
            refused += 1
            assert message.meta["code"] == "busy"
            assert message.meta["retry_after_s"] > 0
    for call_id in calls:
        eve.control(instance, call_id, pack(Kind.PART, 0, {"at": 0}) + b"x", "part")
    eve.flush()
    assert bystander(20, 22) == 42
    assert memory_mb(victim.pid) - before < 100
    assert memory_mb(victim.pid, "VmSize") < 64 * 1024  # of 192 GB that were announced
    for call_id in calls:
        eve.control(instance, call_id, pack(Kind.CANCEL, 0))
    eve.flush()


def test_arguments_that_wait_to_be_used_are_held_within_reason(network):
    source = """
import threading
__all__ = ["take", "add", "release"]
released = threading.Event()
def take(data: bytes) -> bool: return released.wait(100)
async def release() -> None: released.set()
def add(a: int, b: int) -> int: return a + b
"""
    process = network.serve(source, "awi/heavy", "--share", "*/*", LANDBRIDGE_MEMORY_BYTES=str(1 << 28))
    with lb.connect() as net, Eve("heavy", listens=True) as eve:
        assert net.awi.heavy.add(1, 2) == 3
        before = memory_mb(process.pid)
        data = bytes(500_000)
        codes = []
        for number in range(400):  # 200 MB, of which 64 MB may be held
            call_id = eve.call("take", data=data)
            # The broker keeps 64 MB for a backend, and cuts it off beyond; so it is heard of some calls first.
            while number % 20 == 19:
                delivered = eve.raw.wait_for_message()
                message = unpack(delivered.payload)
                if message.kind is Kind.ERROR:
                    codes.append((message.meta["code"], message.meta["retry_after_s"] > 0))
                if call_id in delivered.subject:
                    break
        assert set(codes) == {("busy", True)}
        net.awi.heavy.release.options(timeout_s=20)()
        assert net.awi.heavy.add.options(timeout_s=20)(20, 22) == 42
        assert memory_mb(process.pid, "VmHWM") - before < 120
