"""What a backend tells of itself: whom it tells how busy it is, and to whom it says nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
import time

import pytest

import landbridge as lb
from integration.identity.attacker import RawClient
from landbridge import wire
from landbridge.hub import mint
from landbridge.protocol import SMALLEST_WINDOW, Kind, check_tool_reply, load_subject, pack, unpack, unpack_load
from landbridge.settings import local_dir

SERVED = """
import threading
import landbridge as lb

__version__ = "1.4.0"
going = threading.Event()


@lb.method(share=["gfz/anna"])
def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@lb.method
def secret() -> None:
    raise ValueError("not for gfz")


@lb.method
def hold() -> None:
    going.wait(60)


@lb.method
async def release() -> None:  # needs no thread
    going.set()


@lb.method
def trace() -> list:
    print("hello from trace")
    call = lb.current_call()
    return [call.traceparent, call.tracestate]


@lb.method
def relayed() -> list:
    return lb.connect("geomar/relay")["geomar/load"].trace()


@lb.method(process=True)
def trace_in_worker() -> list:
    return trace()


@lb.method(process=True)
def relayed_by_worker() -> list:
    return trace() + relayed()


@lb.method
class Box:
    def trace(self) -> list:
        return trace()
"""
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def served(network):
    return network.serve(SERVED, "geomar/load")


@pytest.fixture
def client(network):
    """Give bare clients of this network."""
    clients = []

    def client(institute, person):
        minted = mint(
            local_dir(), institute, person, (),
            now=int(time.time()), random=secrets.token_bytes, urls=[network.up.ready["url"]],
        )  # fmt: skip
        clients.append(RawClient.of(network.up.ready["url"], asyncio.run(minted)))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


def ask(client, institute, person):
    """Ask geomar/load how busy it is, and return its answer."""
    question = secrets.token_hex(16)
    inbox = f"_INBOX.{institute}.{person}.{secrets.token_hex(16)}"
    client.subscribe(f"{inbox}.*.*")
    client.publish(load_subject(institute, person, "geomar", "load", question), reply=f"{inbox}.{question}.0")
    return unpack_load(client.wait_for_message().payload)


def wait_until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_owner_hears_of_all_methods(net, served, client):
    owner = client("local", "owner")
    _, before = ask(owner, "local", "owner")
    assert net.geomar.load.mean([1.0, 3.0]) == 2.0
    with pytest.raises(lb.RemoteError):
        net.geomar.load.secret()
    instance, after = ask(owner, "local", "owner")
    assert instance == served.ready["instance"]
    assert (after.ended - before.ended, after.errors - before.errors) == (2, 1)
    assert after.bytes_in > before.bytes_in
    assert after.bytes_out > before.bytes_out
    assert sum(after.latency) == after.ended


def test_others_hear_of_what_they_may_call_and_of_nothing_else(net, served, client):
    anna = client("gfz", "anna")
    _, before = ask(anna, "gfz", "anna")
    net.geomar.load.mean([1.0])
    with pytest.raises(lb.RemoteError):
        net.geomar.load.secret()
    _, after = ask(anna, "gfz", "anna")
    assert (after.ended - before.ended, after.errors) == (1, 0)
    assert ask(client("gfz", "otto"), "gfz", "otto") == (served.ready["instance"], None)


def test_calls_that_run_and_calls_that_wait_are_told_apart(net, served, client):
    owner = client("local", "owner")
    calls = [net.geomar.load.hold.start() for _ in range(20)]
    try:
        wait_until(lambda: ask(owner, "local", "owner")[1][2:4] == (16, 4))
    finally:
        net.geomar.load.release()
    for call in calls:
        call.result()
    wait_until(lambda: ask(owner, "local", "owner")[1][2:4] == (0, 0))


def test_nobody_can_have_an_answer_sent_to_somebody_else(served, client):
    eve, question = client("gfz", "eve"), secrets.token_hex(16)
    victim = client("awi", "bob")
    inbox = f"_INBOX.awi.bob.{secrets.token_hex(16)}"
    victim.subscribe(f"{inbox}.*.*")
    victim.flush()
    eve.publish(load_subject("gfz", "eve", "geomar", "load", question), reply=f"{inbox}.{question}.0")
    # A question in order behind it, which is answered, shows that the other has been dropped.
    ask(eve, "gfz", "eve")
    victim.flush()
    assert victim.messages == []
    assert eve.refuses_publish(load_subject("awi", "bob", "geomar", "load", question))


def tool(client, subject):
    inbox = f"_INBOX.local.owner.tool.{secrets.token_hex(11)}"
    client.subscribe(f"{inbox}.*")
    client.publish(subject, reply=check_tool_reply(f"{inbox}.1"))
    return client


def asked(client, subject):
    return json.loads(tool(client, subject).wait_for_message().payload)


def test_the_tools_of_nats_see_nothing_of_what_is_not_shared_with_everybody(net, served, client):
    owner = client("local", "owner")
    info, stats = (asked(owner, f"$SRV.{verb}.geomar-load") for verb in ("INFO", "STATS"))
    assert (info["endpoints"], stats["endpoints"], info["description"], info["version"]) == ([], [], "", "0.0.0")


def test_the_tools_of_nats_see_what_everybody_may_call(network, net, served, client):
    net.geomar.load.mean([1.0])
    owner = client("local", "owner")
    assert network.run("share", "geomar/load.mean", "*/*").returncode == 0
    deadline = time.monotonic() + 30
    while not asked(owner, "$SRV.INFO.geomar-load")["endpoints"]:  # it holds within a second
        assert time.monotonic() < deadline
    for verb, subject in {
        "ping": "$SRV.PING.geomar-load",
        "info": f"$SRV.INFO.geomar-load.{served.ready['instance']}",
        "stats": "$SRV.STATS.geomar-load",
    }.items():
        answer = json.loads(tool(owner, subject).wait_for_message().payload)
        assert answer["type"] == f"io.nats.micro.v1.{verb}_response"
        assert (answer["name"], answer["version"]) == ("geomar-load", "1.4.0")
        assert answer["id"] == served.ready["instance"]
    (mean,) = answer["endpoints"]
    assert mean["name"] == "mean"
    assert mean["num_requests"] >= 1
    assert mean["processing_time"] > 0


def test_all_backends_answer_a_question_to_all(served, client):
    owner = tool(client("local", "owner"), "$SRV.PING")
    names = {json.loads(owner.wait_for_message().payload)["name"] for _ in range(3)}
    assert names == {"geomar-load", "lb-catalogue", "lb-id"}


def test_a_tool_cannot_have_answers_sent_elsewhere(served, client):
    owner, bob = client("local", "owner"), client("awi", "bob")
    bob.subscribe("_INBOX.awi.bob.*.*.*")
    bob.flush()
    owner.publish("$SRV.STATS.geomar-load", reply="_INBOX.awi.bob.tool.a.b")
    tool(owner, "$SRV.PING.geomar-load").wait_for_message()
    bob.flush()
    assert bob.messages == []


def test_a_served_call_is_part_of_its_callers_trace(network, served):
    script = f"""
        import sys, types
        import landbridge as lb
        context = types.SimpleNamespace(
            is_valid=True, trace_id=int("{PARENT[3:35]}", 16), span_id=int("{PARENT[36:52]}", 16), trace_flags=1,
            trace_state=types.SimpleNamespace(to_header=lambda: "rojo=1"),
        )
        api = sys.modules["opentelemetry.trace"] = types.ModuleType("opentelemetry.trace")
        api.get_current_span = lambda: types.SimpleNamespace(get_span_context=lambda: context)
        module = lb.connect().geomar.load
        print(*module.trace(), *module.relayed(), *module.trace_in_worker(), *module.relayed_by_worker())
        box = module.Box()
        print(*box.trace())
    """
    done = network.python(script)
    assert done.returncode == 0, done.stderr
    told = done.stdout.split()
    parents, states = told[::2], told[1::2]
    assert set(states) == {"rojo=1"}
    assert len({PARENT, *parents}) == 7
    for each in parents:
        assert each.startswith(PARENT[:36])
        assert each.endswith("-01")


def test_without_a_trace_there_is_none(net, served):
    assert net.geomar.load.trace() == net.geomar.load.trace_in_worker() == [None, None]


def test_a_traced_call_keeps_its_other_options(network, served):
    script = f"""
        import sys, types
        import landbridge as lb
        from landbridge.tracing import parse_trace, serving
        serving.set(types.SimpleNamespace(trace=parse_trace("{PARENT}")))
        print(*lb.connect().geomar.load.trace.options(timeout_s=30, logs=True)())
    """
    done = network.python(script)
    assert done.returncode == 0, done.stderr
    assert "hello from trace" in done.stdout + done.stderr
    assert PARENT[:36] in done.stdout


@pytest.mark.parametrize(
    "hostile", ["", "x", PARENT[:-1], PARENT[:-2] + "\x1b1", "ff" + PARENT[2:], "00-" + "0" * 32 + PARENT[35:]]
)
def test_a_trace_that_is_none_costs_nobody_a_call(served, client, hostile):
    owner, call = client("local", "owner"), secrets.token_hex(16)
    inbox = f"_INBOX.local.owner.{secrets.token_hex(16)}"
    owner.subscribe(f"{inbox}.*.*")
    meta = {"granted": SMALLEST_WINDOW, "traceparent": hostile, "tracestate": hostile}
    request = pack(Kind.CALL, 0, meta) + b"".join(wire.encode({}))
    owner.publish("lb.call.local.owner.geomar.load.trace", request, reply=f"{inbox}.{call}.0")
    answer = unpack(owner.wait_for_message().payload)
    assert answer.kind is Kind.RESULT
    assert wire.decode(answer.body) == [None, None]
