"""A backend that means harm: what it costs its callers, and what it makes them show."""

from __future__ import annotations

import asyncio
import os
import secrets

import pytest

import landbridge as lb
from integration.eve import Impostor, memory_mb, result, spec
from landbridge.protocol import Kind, Presence, pack, pack_presence, unpack

pytestmark = pytest.mark.usefixtures("network")


def answers(*messages: bytes, **fields):
    """Describe one method `f`, and answer calls of it with these messages."""
    return lambda method: result(spec("gfz/hostile", f=fields)) if method == "_describe" else list(messages)


async def until(true) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("wanted", [False, True])
def test_a_method_writes_to_the_screen_only_if_that_was_asked_for(capsys, wanted):
    lines = [pack(Kind.LOG, 0, {"stream": stream, "text": "[sudo] password: \x1b[8m"}) for stream in ("stdout", "log")]

    async def main():
        async with Impostor("hostile", answers(*lines, *result(1))), lb.AsyncNetwork() as net:
            return await net.gfz.hostile.f.options(logs=wanted)()

    assert asyncio.run(main()) == 1
    shown = capsys.readouterr()
    assert ("sudo" in shown.out, "sudo" in shown.err) == (wanted, wanted)
    assert "\x1b" not in shown.out + shown.err


def test_answers_that_are_none_say_so_once(caplog):
    async def main():
        garbage = [b"\x10\xff" + bytes(6)] * 500
        async with Impostor("hostile", answers(*garbage, *result(1))), lb.AsyncNetwork() as net:
            return await net.gfz.hostile.f()

    assert asyncio.run(main()) == 1
    assert len([record for record in caplog.records if record.levelname != "DEBUG"]) == 1


def test_a_module_is_not_believed_to_take_gigabytes_to_describe():
    async def main():
        announced = [pack(Kind.RESULT, 0, {"total": 1 << 30})]
        async with Impostor("hostile", lambda _: announced), lb.AsyncNetwork() as net:
            await net.gfz.hostile.f()

    with pytest.raises(lb.TooLarge):
        asyncio.run(main())


def test_arguments_that_are_asked_for_again_and_again_are_not_sent_again_and_again():
    parts_bytes = 0
    begun = False

    async def main():
        nonlocal begun

        def control(message):
            nonlocal parts_bytes, begun
            said = unpack(message.payload)
            if said.kind is Kind.PART:
                parts_bytes += len(said.body)
                if not begun:
                    begun = True
                    return [beat(resend=True)] * 2000
            return []

        def beat(**fields):
            meta = {
                "instance": hostile.instance,
                "next": 0,
                "granted": 1 << 40,
                "bulk_granted": 1 << 40,
                "bulk_next": 0,
            }
            return pack(Kind.BEAT, 0, {**meta, **fields})

        def answer(method):
            parameters = [{"name": "x", "kind": "positional_or_keyword", "schema": {}, "doc": ""}]
            if method == "_describe":
                return result(spec("gfz/hostile", f={"parameters": parameters}))
            return [beat()]

        hostile = Impostor("hostile", answer, control)
        async with hostile, lb.AsyncNetwork() as net:
            call = net.gfz.hostile.f(bytes(8_000_000))
            await until(lambda: begun)
            before = memory_mb(os.getpid())
            await hostile.connection.flush()
            await net._link_now._connection.flush()
            grown = memory_mb(os.getpid()) - before
            await call.cancel()
            return grown

    assert asyncio.run(main()) < 200  # MB; 16 GB were asked for
    assert parts_bytes < 50_000_000


def test_a_module_that_claims_the_backend_of_another_has_its_callers_do_nothing():
    async def main():
        heard = []
        steady = Impostor("hostile", answers(), lambda message: heard.append(message) or [])
        accepted = pack(Kind.BEAT, 0, {"instance": steady.instance, "next": 1, "granted": 1 << 20})
        steady._answer = answers(accepted)
        async with steady, Impostor("liar", answers()) as liar, lb.AsyncNetwork() as net:
            call = net.gfz.hostile.f()
            await until(lambda: len(steady.replies) == 2)
            for _ in range(1000):
                run = secrets.token_hex(8)
                liar.connection.publish("lb.cat.gfz.liar", pack_presence(Presence(steady.instance, True, run=run)))
            await liar.connection.flush()
            await until(lambda: "gfz/liar" in net._link_now.modules)
            await net._link_now._connection.flush()
            await steady.connection.flush()
            told = [unpack(message.payload).kind for message in heard]
            for _ in range(1000):
                run = secrets.token_hex(8)
                steady.connection.publish("lb.cat.gfz.hostile", pack_presence(Presence(steady.instance, True, run=run)))
            await steady.connection.flush()
            await net._link_now._connection.flush()
            await steady.connection.flush()
            told_of_own = [unpack(message.payload).kind for message in heard]
            await call.cancel()
            return told, told_of_own

    told, told_of_own = asyncio.run(main())
    assert told == []
    assert 1 <= len(told_of_own) <= 3
