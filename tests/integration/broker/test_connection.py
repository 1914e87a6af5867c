"""Messages over a real broker, and what becomes of the connection to it."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import signal
import time
from array import array
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import nats
import pytest

from integration.broker.support import connected
from landbridge.broker import Denied, Disconnected, Message, Reconnected, channel, start_server
from landbridge.errors import BrokerUnreachable, NotConfigured, TooLarge

NOWHERE = "nats://127.0.0.1:1"


@asynccontextmanager
async def stranger(server, network):
    """A client of nats-py, which can send what ours never would."""
    user = network.user()
    client = await nats.connect(
        server.url,
        user_jwt_cb=lambda: user.jwt.encode(),
        signature_cb=lambda nonce: base64.b64encode(user.sign(nonce.encode())),
    )
    try:
        yield client
    finally:
        await client.close()


# Messages


async def test_a_message_arrives_as_it_was_sent(network, server):
    async with connected(server.url, network.user()) as peer:
        await peer.connection.subscribe("a.*", peer.on_message)
        peer.connection.publish("a.b", b"one", memoryview(b"-two"), reply="r.1")
        assert await peer.message() == Message("a.b", "r.1", b"one-two", False)
        peer.connection.publish("a.b", memoryview(array("d", [1.5])), b"!")
        assert (await peer.message()).payload == array("d", [1.5]).tobytes() + b"!"
        peer.connection.publish("a.c")
        assert await peer.message() == Message("a.c", "", b"", False)


async def test_messages_arrive_in_order_and_none_is_dropped(network, server):
    async with connected(server.url, network.user()) as sender, connected(server.url, network.user()) as receiver:
        await receiver.connection.subscribe("a", receiver.on_message)
        await receiver.connection.flush()
        # Less in all than the broker holds for a connection: sender and receiver share this loop.
        sizes = [0, 1, 100, 300_000, 2_000_000, 5] * 8 + [8 * 1024 * 1024] + [10] * 20_000
        for number, size in enumerate(sizes):
            sender.connection.publish("a", number.to_bytes(4, "big"), bytes(max(0, size - 4)))
            if size > 100_000:
                await sender.connection.writable()
        await sender.connection.flush(30)
        await receiver.connection.flush(30)
        assert [int.from_bytes(message.payload[:4], "big") for message in receiver.messages] == list(range(len(sizes)))
        assert [len(message.payload) for message in receiver.messages] == [max(4, size) for size in sizes]


async def test_flush_means_that_the_broker_has_taken_what_was_published(network, server):
    async with connected(server.url, network.user()) as sender, connected(server.url, network.user()) as receiver:
        await receiver.connection.subscribe("a", receiver.on_message)
        await receiver.connection.flush()
        for _ in range(100):
            sender.connection.publish("a", b"x")
        await sender.connection.flush()
        await receiver.connection.flush()
        assert len(receiver.messages) == 100


async def test_members_of_a_queue_share_its_messages(network, server):
    async with connected(server.url, network.user()) as one, connected(server.url, network.user()) as two:
        for peer in (one, two):
            await peer.connection.subscribe("a", peer.on_message, queue="q")
            await peer.connection.flush()
        for number in range(200):
            one.connection.publish("a", b"%d" % number)
        await one.connection.flush()
        await two.connection.flush()
        got = [message.payload for peer in (one, two) for message in peer.messages]
        assert sorted(map(int, got)) == list(range(200))
        assert one.messages
        assert two.messages


async def test_nothing_is_delivered_after_unsubscribing(network, server):
    async with connected(server.url, network.user()) as peer:
        subscription = await peer.connection.subscribe("a", peer.on_message)
        peer.connection.publish("a", b"1")
        await peer.message()
        peer.connection.publish("a", b"2")
        await subscription.unsubscribe()
        await subscription.unsubscribe()
        await peer.connection.flush()
        assert peer.messages == []


async def test_a_callback_that_fails_is_logged_and_called_again(network, server, caplog):
    async with connected(server.url, network.user()) as peer:

        def callback(message: Message) -> None:
            peer.on_message(message)
            raise RuntimeError("callback")

        await peer.connection.subscribe("a", callback)
        with caplog.at_level(logging.ERROR, "landbridge.broker"):
            peer.connection.publish("a", b"1")
            peer.connection.publish("a", b"2")
            assert [(await peer.message()).payload, (await peer.message()).payload] == [b"1", b"2"]
        assert "callback" in caplog.text


async def test_a_callback_may_publish_and_unsubscribe(network, server):
    async with connected(server.url, network.user()) as peer:
        await peer.connection.subscribe("a", lambda message: peer.connection.publish(message.reply, b"answer"))
        answer = await peer.connection.request("a", b"", inbox="i", timeout_s=10)
        assert answer.payload == b"answer"


async def test_a_request_nobody_receives_says_so_at_once(network, server):
    async with connected(server.url, network.user()) as peer:
        answer = await peer.connection.request("nobody", b"", inbox="i.1", timeout_s=10)
        assert answer == Message("i.1", "", b"", True)


async def test_a_request_nobody_answers_ends(network, server):
    async with connected(server.url, network.user()) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        with pytest.raises(BrokerUnreachable, match="Nobody answered at a"):
            await peer.connection.request("a", b"", inbox="i", timeout_s=0.05)


async def test_headers_are_left_out(network, server):
    async with connected(server.url, network.user()) as peer, stranger(server, network) as client:
        await peer.connection.subscribe("a", peer.on_message)
        await peer.connection.flush()
        await client.publish("a", b"x", headers={"Nats-Request-Info": "forged", "Status": "503"})
        await client.publish("a", b"", headers={"Status": "503"})
        assert await peer.message() == Message("a", "", b"x", False)
        assert await peer.message() == Message("a", "", b"", False)


async def test_a_subject_that_is_not_ascii_ends_nothing(network, server):
    async with connected(server.url, network.user()) as peer, stranger(server, network) as client:
        await peer.connection.subscribe(">", peer.on_message)
        await peer.connection.flush()
        await client.publish("a", b"dropped", reply="é.ü")
        await client.publish("é", b"dropped")
        await client.publish("a", b"kept")
        assert (await peer.message()).payload == b"kept"


async def test_a_message_too_long_for_the_broker_is_refused_here(network, server):
    async with connected(server.url, network.user()) as peer:
        limit = peer.connection.max_payload
        with pytest.raises(TooLarge) as caught:
            peer.connection.publish("a", bytes(limit), b"x")
        assert caught.value.limit_bytes == limit
        await peer.connection.subscribe("a", peer.on_message)
        peer.connection.publish("a", bytes(limit))
        assert len((await peer.message()).payload) == limit


@pytest.mark.parametrize("text", ["", " ", "a b", "a\r\nPUB b 0\r\n", "a\n", "a\tb", "é", "a\x00b", "a\u2028b"])
async def test_text_that_could_leave_its_place_in_the_protocol_is_refused(network, server, text):
    async with connected(server.url, network.user()) as peer:
        with pytest.raises(ValueError, match="not a subject"):
            peer.connection.publish(text, b"")
        with pytest.raises(ValueError, match="not a subject"):
            await peer.connection.subscribe(text, peer.on_message)
        if text:
            with pytest.raises(ValueError, match="not a subject"):
                peer.connection.publish("a", b"", reply=text)
            with pytest.raises(ValueError, match="not a subject"):
                await peer.connection.subscribe("a", peer.on_message, queue=text)


async def test_round_trip_time_is_measured(network, server):
    async with connected(server.url, network.user()) as peer:
        assert await peer.connection.rtt() > 0


# Refusals


async def test_a_refused_publish_is_told_with_its_subject_and_the_connection_goes_on(network, server):
    user = network.user(pub={"allow": ["ok.>"]})
    async with connected(server.url, user) as peer:
        await peer.connection.subscribe("ok.>", peer.on_message)
        peer.connection.publish("lb.call.Other.Person", b"")
        assert await peer.event(Denied) == Denied("publish", "lb.call.Other.Person")
        peer.connection.publish("ok.1", b"still here")
        assert (await peer.message()).payload == b"still here"
        assert peer.connection.connected


async def test_a_refused_subscription_is_told_with_its_subject(network, server):
    user = network.user(sub={"allow": ["ok.>"]})
    async with connected(server.url, user) as peer:
        await peer.connection.subscribe("_INBOX.Other.>", peer.on_message)
        assert await peer.event(Denied) == Denied("subscribe", "_INBOX.Other.>")
        await peer.connection.subscribe("Shared.Work", peer.on_message, queue="q")
        assert await peer.event(Denied) == Denied("subscribe", "Shared.Work")


async def test_a_listener_that_fails_ends_nothing(network, server):
    user = network.user(pub={"allow": ["ok.>"]})
    seen = []

    def on_event(event):
        seen.append(event)
        raise RuntimeError("listener")

    async with connected(server.url, user, on_event=on_event) as peer:
        peer.connection.publish("no", b"")
        await peer.connection.flush()
        await peer.connection.flush()
    assert seen == [Denied("publish", "no")]


# The broker goes and comes back


async def test_who_reads_too_slowly_is_cut_off_by_the_broker_and_comes_back(network, server):
    async with connected(server.url, network.user()) as sender, connected(server.url, network.user()) as receiver:
        await receiver.connection.subscribe("a", receiver.on_message)
        await receiver.connection.flush()
        channel = receiver.connection._channel
        channel._transport.pause_reading()
        channel.read_now = lambda: time.sleep(0.001)  # as a thread may read instead
        for _ in range(100):
            sender.connection.publish("a", bytes(1 << 20))
            await sender.connection.writable()
        await sender.connection.flush(30)
        del channel.read_now
        if channel._descriptor < 0:
            channel._transport.resume_reading()
        await receiver.event(Disconnected)
        await receiver.event(Reconnected)
        assert len(receiver.messages) < 100
        sender.connection.publish("a", b"again")
        while (await receiver.message()).payload != b"again":
            pass


async def test_a_broker_that_is_frozen_is_noticed_and_found_again(network, server, monkeypatch):
    monkeypatch.setattr(channel, "_PING_INTERVAL_S", 0.05)
    async with connected(server.url, network.user(), connect_timeout_s=1) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        await asyncio.sleep(0.4)  # many times as long as it may be silent
        assert peer.events == []
        os.kill(server.pid, signal.SIGSTOP)
        try:
            lost = await peer.event(Disconnected)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert lost == Disconnected("the broker no longer answers")
        await peer.event(Reconnected)
        peer.connection.publish("a", b"again")
        assert (await peer.message()).payload == b"again"


async def test_a_flush_over_a_loss_is_no_success(network):
    server = start_server(network.config())
    async with connected(server.url, network.user()) as peer:
        os.kill(server.pid, signal.SIGSTOP)
        while Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            await asyncio.sleep(0.001)  # it can no longer answer
        flushed = asyncio.get_running_loop().create_task(peer.connection.flush(20))
        await asyncio.sleep(0)
        server.kill()
        with pytest.raises(BrokerUnreachable, match="was lost"):
            await flushed


async def test_subscriptions_and_what_was_published_meanwhile_survive_a_restart_of_the_broker(network):
    config = network.config()
    server = start_server(config)
    try:
        async with connected(server.url, network.user()) as peer:
            kept = await peer.connection.subscribe("kept.*", peer.on_message)
            dropped = await peer.connection.subscribe("dropped", peer.on_message)
            await peer.connection.flush()
            connected_at = peer.connection.connected_at
            server.kill()
            await peer.event(Disconnected)
            assert not peer.connection.connected
            await dropped.unsubscribe()
            peer.connection.publish("dropped", b"")
            peer.connection.publish("kept.1", b"waited")
            server = start_server(replace(config, port=urlsplit(server.url).port))
            assert await peer.event(Reconnected) == Reconnected(server.server_id)
            assert (await peer.message()).payload == b"waited"
            assert peer.connection.connected
            assert peer.connection.connected_at > connected_at
            assert kept.subject == "kept.*"
            await peer.connection.flush()
            assert peer.messages == []
    finally:
        server.stop()


async def test_flush_waits_for_a_broker_that_comes_back(network):
    config = network.config()
    server = start_server(config)
    try:
        async with connected(server.url, network.user()) as peer:
            server.kill()
            await peer.event(Disconnected)
            flushed = asyncio.get_running_loop().create_task(peer.connection.flush(20))
            server = start_server(replace(config, port=urlsplit(server.url).port))
            await flushed
    finally:
        server.stop()


async def test_while_the_broker_is_away_what_waits_for_it_is_bounded(network):
    server = start_server(network.config())
    async with connected(server.url, network.user()) as peer:
        server.kill()
        await peer.event(Disconnected)
        for _ in range(31):
            peer.connection.publish("a", bytes(1 << 20))
        with pytest.raises(BrokerUnreachable, match="already waiting"):
            peer.connection.publish("a", bytes(1 << 20))
        with pytest.raises(BrokerUnreachable, match="did not answer"):
            await peer.connection.flush(0.05)


async def test_another_broker_of_the_list_takes_over(network, tmp_path):
    first = start_server(network.config())
    with start_server(replace(network.config(), directory=tmp_path / "second")) as second:
        async with connected([first.url, second.url], network.user()) as peer:
            assert peer.connection.server_id == first.server_id
            first.kill()
            assert await peer.event(Reconnected) == Reconnected(second.server_id)
            assert peer.connection.server_id == second.server_id


# Opening


async def test_the_first_broker_that_answers_is_taken(network, server):
    async with connected([NOWHERE, server.url], network.user()) as peer:
        assert peer.connection.server_id == server.server_id


async def test_when_no_broker_answers_each_is_named_with_its_reason_and_no_password(network, server):
    other = NOWHERE.replace("//", "//name:hunter2@")
    with pytest.raises(BrokerUnreachable) as caught:
        async with connected([NOWHERE, other, "nats://", server.url.replace("nats:", "http:")], network.user()):
            pass
    text = str(caught.value)
    assert text.count(f"{NOWHERE}: nothing listens there") == 2
    assert "landbridge up" in text
    assert "hunter2" not in text


async def test_without_an_address_the_setting_is_named(network):
    with pytest.raises(NotConfigured, match="LANDBRIDGE_URL"):
        async with connected([], network.user()):
            pass


# The end


async def test_what_was_published_before_closing_is_sent_and_no_event_tells_of_it(network, server):
    async with connected(server.url, network.user()) as receiver:
        await receiver.connection.subscribe("a", receiver.on_message)
        await receiver.connection.flush()
        async with connected(server.url, network.user()) as sender:
            for _ in range(50):
                sender.connection.publish("a", bytes(100_000))
            await sender.connection.close()
            await sender.connection.close()
        for _ in range(50):
            await receiver.message()
        assert sender.events == []


async def test_after_closing_nothing_can_be_done(network, server):
    async with connected(server.url, network.user()) as peer:
        subscription = await peer.connection.subscribe("a", peer.on_message)
        await peer.connection.close()
        with pytest.raises(BrokerUnreachable, match="closed"):
            peer.connection.publish("a", b"")
        with pytest.raises(BrokerUnreachable, match="closed"):
            await peer.connection.subscribe("a", peer.on_message)
        with pytest.raises(BrokerUnreachable, match="closed"):
            await peer.connection.flush()
        await subscription.unsubscribe()
        await peer.connection.writable()


async def test_draining_a_subscription_delivers_what_the_broker_has_sent_before(network, server):
    async with connected(server.url, network.user()) as caller, connected(server.url, network.user()) as backend:
        await caller.connection.subscribe("i", caller.on_message)
        subscription = await backend.connection.subscribe(
            "a", lambda message: backend.connection.publish(message.reply, b"done")
        )
        await backend.connection.flush()
        for _ in range(100):
            caller.connection.publish("a", b"", reply="i")
        await caller.connection.flush()
        await subscription.drain(backend.connection.flush)
        for _ in range(100):
            assert (await caller.message()).payload == b"done"


async def test_closing_while_the_broker_is_away_ends_the_search(network):
    server = start_server(network.config())
    async with connected(server.url, network.user()) as peer:
        server.kill()
        await peer.event(Disconnected)
        await peer.connection.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 5)
        assert asyncio.all_tasks() == {asyncio.current_task()}
