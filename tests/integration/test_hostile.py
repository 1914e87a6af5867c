"""Bytes, names, specs and answers made to attack: they do no harm to backends, callers or terminals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import signal
import socket
import time

import pytest

import landbridge as lb
from integration.identity.attacker import RawClient
from landbridge import wire
from landbridge.broker import Connection
from landbridge.client import lookup
from landbridge.contract import ModuleSpec
from landbridge.hub import mint
from landbridge.protocol import Kind, Presence, pack, pack_presence, unpack
from landbridge.settings import local_dir, running_broker

SOURCE = """
__all__ = ["add"]
def add(a: int, b: int) -> int:
    return a + b
"""


@pytest.fixture(scope="module")
def victim(network):
    process = network.serve(SOURCE, "awi/victim", "--share", "*/*")
    yield process
    assert process.running
    assert process.stop() == 0


def credentials(institute: str, person: str, *modules: str):
    return asyncio.run(mint(local_dir(), institute, person, modules, now=int(time.time()), random=secrets.token_bytes))


@pytest.fixture
def eve(network):
    client = RawClient.of(running_broker().url, credentials("gfz", "eve"))
    yield client
    client.close()


def call_bytes(**arguments) -> bytes:
    return pack(Kind.CALL, 0, {"granted": 1 << 20}) + b"".join(wire.encode(arguments))


REQUEST = "lb.call.gfz.eve.awi.victim.add"


def inbox(institute: str = "gfz", person: str = "eve", call_id: str = "") -> str:
    return f"_INBOX.{institute}.{person}.{'0' * 32}.{call_id or secrets.token_hex(16)}.0"


def test_a_request_of_our_own_making_is_answered(eve, victim):
    eve.subscribe("_INBOX.gfz.eve.*.*.*")
    eve.publish(REQUEST, call_bytes(a=20, b=22), inbox())
    answer = unpack(eve.wait_for_message().payload)
    assert (answer.kind, wire.decode(answer.body)) == (Kind.RESULT, 42)


@pytest.mark.parametrize(
    "reply",
    [
        "_INBOX.awi.bob." + "0" * 32 + "." + "1" * 32 + ".0",
        "_INBOX.gfz.evelyn." + "0" * 32 + "." + "1" * 32 + ".0",
        "_INBOX.gfz.eve.short.short.0",
        "_INBOX.gfz.eve." + "0" * 32 + "." + "1" * 32 + ".0.1",
        "lb.call.awi.bob.awi.victim.add",
        "lb.cat.awi.victim",
        "$JS.API.INFO",
        "",
    ],
)
def test_a_reply_anywhere_but_in_the_callers_own_inbox_is_dropped_without_an_answer(network, eve, victim, reply):
    bob = RawClient.of(running_broker().url, credentials("awi", "bob"))
    try:
        bob.subscribe("_INBOX.awi.bob.*.*.*")
        bob.flush()
        eve.subscribe("_INBOX.gfz.eve.*.*.*")
        eve.publish(REQUEST, call_bytes(a=1, b=2), reply)
        # The backend works in order: once a later request is answered, the first has been dealt with.
        eve.publish(REQUEST, call_bytes(a=20, b=22), inbox())
        answers = [eve.wait_for_message()]
        eve.flush()
        bob.flush()
        answers += eve.messages
        assert [wire.decode(unpack(each.payload).body) for each in answers] == [42]
        assert bob.messages == []
    finally:
        bob.close()


def test_thousands_of_mutated_requests_leave_the_backend_as_it_was(network, eve, victim):
    chance = random.Random(7)
    whole = call_bytes(a=1, b=2)
    eve.subscribe("_INBOX.gfz.eve.*.*.*")
    for _ in range(3000):
        mutated = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            match chance.randrange(3):
                case 0:
                    mutated[chance.randrange(len(mutated))] = chance.randrange(256)
                case 1:
                    del mutated[chance.randrange(len(mutated)) :]
                    mutated += bytes(chance.randrange(256) for _ in range(chance.randrange(8)))
                case 2:
                    place = chance.randrange(len(mutated) + 1)
                    mutated[place:place] = bytes([chance.randrange(256)]) * chance.randrange(1, 9)
            mutated = mutated or bytearray(1)
        eve.publish(REQUEST, bytes(mutated), inbox())
    eve.flush()
    with lb.connect() as net:
        assert net.awi.victim.add(1, 2) == 3
    assert victim.running
    assert "Traceback" not in victim.stderr


def test_huge_declared_sizes_take_no_memory(network, eve, victim):
    before = memory_mb(victim.pid)
    eve.subscribe("_INBOX.gfz.eve.*.*.*")
    for _ in range(200):
        eve.publish(REQUEST, pack(Kind.CALL, 0, {"granted": 1 << 20, "total": 1 << 40}) + b"x", inbox())
        eve.publish(REQUEST, call_bytes()[:8] + b"\xff\xff\xff\xff" * 8, inbox())
    eve.flush()
    with lb.connect() as net:
        assert net.awi.victim.add(1, 2) == 3
    assert memory_mb(victim.pid) - before < 50


def memory_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def test_others_cannot_cancel_a_call_they_did_not_make(network, eve):
    network.serve("import time\n__all__ = ['wait']\ndef wait(s: float) -> str:\n    time.sleep(s)\n    return 'done'\n",
                  "awi/slow", "--share", "*/*")  # fmt: skip
    with lb.connect() as net:
        call = net.awi.slow.wait.start(1.0)
        time.sleep(0.3)
        entry = next(iter(net._link()._calls.values()))
        for operation in ("message", "cancel"):
            subject = f"lb.ctl.gfz.eve.awi.slow.{entry.caller.instance}.call.{entry.call_id}.{operation}"
            eve.publish(subject, pack(Kind.CANCEL, 1), inbox(call_id=entry.call_id))
        eve.flush()
        assert eve.refusals == []
        assert call.result(timeout=20) == "done"


class Impostor:
    """A backend with a real credential that answers whatever a test tells it to."""

    def __init__(self, module: str, answer) -> None:
        self._module = module
        self._answer = answer

    async def __aenter__(self):
        held = await mint(local_dir(), "gfz", "_M", [self._module], now=int(time.time()), random=secrets.token_bytes)
        self.connection = await Connection.open(
            [running_broker().url], user_jwt=lambda: held.jwt, sign=held.sign, name="impostor", on_event=lambda _: None
        )

        def arrived(message):
            for payload in self._answer(message.subject.rpartition(".")[2]):
                self.connection.publish(message.reply, payload)

        await self.connection.subscribe(f"lb.call.*.*.gfz.{self._module}.*", arrived, queue="lb")
        await self.connection.flush()
        return self

    async def __aexit__(self, *exc):
        await self.connection.close()


def result(value, **meta) -> list[bytes]:
    return [pack(Kind.RESULT, 0, meta or None) + b"".join(wire.encode(value))]


def spec(name: str, **methods) -> dict:
    method = {"doc": "", "summary": "", "parameters": [], "returns_doc": "", "raises": [], "streams": False}
    members = [{**method, "name": key, **fields} for key, fields in methods.items()]
    return {"name": name, "doc": "", "summary": "", "version": "", "methods": members, "types": {}}


def test_a_spec_of_our_own_making_is_believed():
    assert list(ModuleSpec.from_json(spec("gfz/hostile", f={})).methods) == ["f"]


HOSTILE_ANSWERS = {
    "not a spec": lambda _: result([1, 2, 3]),
    "another module's name": lambda _: result(spec("awi/victim", f={})),
    "method named with a wildcard": lambda _: result(spec("gfz/hostile", **{"*": {}})),
    "method named as a dunder": lambda _: result(spec("gfz/hostile", __class__={})),
    "method named with escapes": lambda _: result(spec("gfz/hostile", **{"\x1b[2J": {}})),
    "thousands of methods": lambda _: result(spec("gfz/hostile", **{f"m{n}": {} for n in range(3000)})),
    "megabytes of text": lambda _: result({**spec("gfz/hostile"), "doc": "x" * 3_000_000}),
    "deep schema": lambda _: result(spec("gfz/hostile", f={"returns": deep(60)})),
    "cut off": lambda _: [result(spec("gfz/hostile"))[0][:-3]],
    "huge total": lambda _: [pack(Kind.RESULT, 0, {"total": 1 << 40}) + b"x"],
    "messages out of order": lambda _: [pack(Kind.RESULT, 5)],
    "a part of nothing": lambda _: [pack(Kind.PART, 0) + b"x"],
    "other version": lambda _: [b"\x20" + pack(Kind.RESULT, 0)[1:]],
    "error with escapes": lambda _: [pack(Kind.ERROR, 0, {"code": "denied", "text": "\x1b]0;owned\x07" * 50})],
    "error of no known code": lambda _: [pack(Kind.ERROR, 0, {"code": "__class__", "text": "x"})],
}


def deep(levels: int) -> dict:
    schema: dict = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize("name", HOSTILE_ANSWERS)
def test_a_module_that_describes_itself_falsely_is_a_typed_error(network, name):
    async def main():
        async with Impostor("hostile", HOSTILE_ANSWERS[name]), lb.AsyncNetwork() as net:
            with pytest.raises(lb.LandbridgeError) as caught:
                await net.gfz.hostile.f()
            return caught.value

    error = asyncio.run(main())
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)
    assert len(str(error)) < 10_000


def test_a_value_that_is_no_frame_is_a_typed_error(network):
    def answer(method):
        return result(spec("gfz/hostile", f={})) if method == "_describe" else [pack(Kind.RESULT, 0) + b"\x00" * 50]

    async def main():
        async with Impostor("hostile", answer), lb.AsyncNetwork() as net:
            with pytest.raises(lb.Malformed):
                await net.gfz.hostile.f()

    asyncio.run(main())


def test_catalogue_entries_are_cleaned_and_those_that_are_none_are_ignored(network):
    entries = [
        pack_presence(Presence("0" * 32, True, "\x1b[31mred\x1b[0m <script>alert(1)</script> " + "x" * 500)),
        b"not json",
        b"[" * 4000,
        json.dumps({"instance": "x", "serving": True}).encode(),
        b"{" + b" " * 100_000 + b"}",
    ]

    async def main():
        async with Impostor("entry", lambda _: []) as impostor:
            for entry in reversed(entries):
                impostor.connection.publish("lb.cat.gfz.entry", entry)
            await impostor.connection.flush()
            async with lb.AsyncNetwork() as net:
                pages = await lookup.items(net._link_now, lookup.CATALOGUE, {}, timeout_s=10.0)
                return [entry for page in pages for entry in page]

    import landbridge.client.link  # noqa: F401 - what the caller has loaded

    listed = {entry["module"]: entry for entry in asyncio.run(main())}
    summary = listed["gfz/entry"]["summary"]
    assert "\x1b" not in summary
    assert len(summary) <= 200


def taken(port: int) -> socket.socket:
    """Take a port as soon as the process that had it has gone."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_backends_do_not_talk_to_whoever_takes_the_port_of_a_broker_that_has_ended(own_network):
    process = own_network.serve(SOURCE, "awi/victim")
    port = int(running_broker().url.rpartition(":")[2])
    own_network.up.stop()
    with taken(port) as impostor:
        impostor.settimeout(3.0)
        with pytest.raises(TimeoutError):
            impostor.accept()
    assert process.running


def test_a_broker_whose_port_was_taken_starts_elsewhere_and_all_follow(own_network):
    own_network.serve(SOURCE, "awi/victim")
    with lb.connect() as net:
        assert net.awi.victim.add(1, 2) == 3
        port = int(running_broker().url.rpartition(":")[2])
        own_network.up.signal(signal.SIGSTOP)
        own_network.kill_broker()
        with taken(port) as impostor:
            own_network.up.signal(signal.SIGCONT)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(lb.LandbridgeError):
                    if net.awi.victim.add.options(timeout_s=10)(20, 22) == 42:
                        break
            assert running_broker().url != f"nats://127.0.0.1:{port}"
            impostor.setblocking(False)
            with pytest.raises(BlockingIOError):
                impostor.accept()
        assert net.awi.victim.add(1, 2) == 3


def test_one_caller_cannot_keep_a_backend_from_the_others(network, eve, monkeypatch):
    monkeypatch.setitem(network.env, "LANDBRIDGE_MEMORY_BYTES", str(1 << 30))  # a quarter of it for each caller
    process = network.serve(
        "__all__ = ['count', 'blob', 'add']\n"
        "def count(n: int):\n    for k in range(n): yield bytes(20_000)\n"
        "def blob(n: int) -> bytes: return bytes(n)\n"
        "def add(a: int, b: int) -> int: return a + b\n",
        "awi/busy", "--share", "*/*",
    )  # fmt: skip
    eve.subscribe("_INBOX.gfz.eve.*.*.*")
    with lb.connect() as net:
        assert net.awi.busy.add(1, 2) == 3
        before = memory_mb(process.pid)
        for _ in range(150):  # streams and results that are never granted any credit
            small = pack(Kind.CALL, 0, {"granted": 1 << 14})
            eve.publish("lb.call.gfz.eve.awi.busy.count", small + b"".join(wire.encode({"n": 10_000})), inbox())
            eve.publish("lb.call.gfz.eve.awi.busy.blob", small + b"".join(wire.encode({"n": 8_000_000})), inbox())
        eve.flush()
        assert net.awi.busy.add.options(timeout_s=20)(20, 22) == 42
        assert memory_mb(process.pid) - before < 600
    eve.flush()
    codes = {unpack(each.payload).meta.get("code") for each in eve.messages if unpack(each.payload).kind is Kind.ERROR}
    assert codes == {"busy"}
