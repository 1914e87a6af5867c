"""What we make of a broker that is slow, broken or hostile."""

from __future__ import annotations

import asyncio

import pytest

from integration.broker.fakebroker import Session, fake_broker
from integration.broker.support import Network, connected
from landbridge.broker import Closed, Disconnected, Reconnected, channel
from landbridge.errors import BrokerUnreachable

REFUSED = "-ERR 'Authorization Violation'"


@pytest.fixture
def user(tmp_path):
    return Network(tmp_path).user()


async def echo(session: Session) -> None:
    """Serve a client, and send what it publishes to its first subscription."""
    while line := await session.hear(b"P"):
        if line.startswith(b"PING"):
            session.say("PONG")
        elif line.startswith(b"PUB "):
            size = int(line.split()[-1])
            payload = (await session.reader.readexactly(size + 2))[:size]
            session.say(b"MSG a 1 %d" % size, payload)


async def test_an_answer_that_comes_late_still_connects(user):
    async def script(session: Session) -> None:
        await session.greet("PING")  # where a client expects PONG
        session.say("PONG")
        await echo(session)

    async with fake_broker(script) as url, connected(url, user) as peer:
        assert peer.connection.connected
        await peer.connection.subscribe("a", peer.on_message)
        peer.connection.publish("a", b"x")
        assert (await peer.message()).payload == b"x"


async def test_an_answer_that_never_comes_is_no_connection(user):
    async def script(session: Session) -> None:
        await session.greet("PING")
        await session.hear(b"never")

    async with fake_broker(script) as url:
        with pytest.raises(BrokerUnreachable, match=r"no answer within 0\.2 s"):
            async with connected(url, user, connect_timeout_s=0.2):
                pass


async def test_a_refusal_that_comes_late_is_told(user):
    async def script(session: Session) -> None:
        await session.greet("PING", REFUSED)
        await session.hear(b"never")

    async with fake_broker(script) as url:
        with pytest.raises(BrokerUnreachable, match="refuses the credentials"):
            async with connected(url, user):
                pass


@pytest.mark.parametrize(
    "text", ["", "HTTP/1.1 400 Bad Request", "INFO", "INFO ", "INFO {", "INFO []", "INFO 3", "x" * 300_000]
)
async def test_what_is_no_broker_is_told(user, text):
    async def script(session: Session) -> None:
        session.say(text)

    async with fake_broker(script) as url:
        with pytest.raises(BrokerUnreachable, match=url):
            async with connected(url, user):
                pass


async def test_a_broker_that_hangs_up_is_told(user):
    async def script(session: Session) -> None:
        if session.number == 2:
            await session.greet()

    async with fake_broker(script) as url:
        for _ in range(2):
            with pytest.raises(BrokerUnreachable, match=url):
                async with connected(url, user, connect_timeout_s=1):
                    pass


async def test_a_secure_address_without_tls_gets_no_credentials(user):
    heard = []

    async def script(session: Session) -> None:
        session.say('INFO {"server_id": "FAKE", "auth_required": true, "nonce": "abc"}')
        heard.append(await session.hear(b"CONNECT"))

    async with fake_broker(script) as url:
        with pytest.raises(BrokerUnreachable, match="no TLS"):
            async with connected(url.replace("nats:", "tls:"), user):
                pass
        await asyncio.sleep(0)
    assert b"CONNECT" not in b"".join(heard)
    assert user.asked == 0


async def test_a_flush_that_timed_out_ends_nothing_when_its_answer_comes_late(user):
    late = asyncio.Event()

    async def script(session: Session) -> None:
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        await session.hear(b"PING")
        await late.wait()
        session.say("PONG")
        await echo(session)

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        with pytest.raises(BrokerUnreachable):
            await peer.connection.flush(0.05)
        late.set()
        await peer.connection.flush()
        peer.connection.publish("a", b"x")
        assert (await peer.message()).payload == b"x"
        assert peer.events == []


@pytest.mark.parametrize("error", ["-ERR 'Maximum Connections Exceeded'", "-ERR 'Invalid Subject'", "-ERR ", "what?"])
async def test_an_error_of_the_broker_leads_to_a_new_connection(user, error):
    async def script(session: Session) -> None:
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        if session.number == 1:
            await session.hear(b"SUB")
            session.say(error)
        await echo(session)

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        await peer.event(Disconnected)
        await peer.event(Reconnected)
        peer.connection.publish("a", b"x")
        assert (await peer.message()).payload == b"x"


async def test_an_error_that_comes_again_each_time_ends_the_connection(user):
    async def script(session: Session) -> None:
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        await is_open.wait()
        session.say("-ERR 'Invalid Subscription'")
        await session.serve()

    is_open = asyncio.Event()
    async with fake_broker(script) as url, connected(url, user) as peer:
        is_open.set()
        closed = await peer.event(Closed)
        assert "Invalid Subscription" in closed.reason
        assert peer.events == []


async def test_a_refusal_at_a_reconnect_is_believed_only_when_repeated(user):
    async def script(session: Session) -> None:
        if session.number == 2:  # it has not yet loaded its accounts
            await session.greet(REFUSED)
            return
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        if session.number > 2:
            await session.serve()

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.event(Reconnected)
        assert peer.connection.connected


async def test_reconnecting_goes_on_whatever_the_broker_says_meanwhile(user):
    nonsense = ["INFO []", "INFO", "", "x" * 300_000]

    async def script(session: Session) -> None:
        if 2 <= session.number < 2 + len(nonsense):
            session.say(nonsense[session.number - 2])
            return
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        if session.number > 1:
            await echo(session)

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        await peer.event(Reconnected)
        peer.connection.publish("a", b"x")
        assert (await peer.message()).payload == b"x"


async def test_credentials_that_cannot_be_read_for_a_while_do_not_end_reconnecting(user):
    jwt, failures = user.jwt, []

    def user_jwt() -> str:
        if user.asked and len(failures) < 3:
            failures.append(1)
            raise OSError("network drive is away")
        user.asked += 1
        return jwt

    user.user_jwt = user_jwt

    async def script(session: Session) -> None:
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        if session.number > 1:
            await session.serve()

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.event(Reconnected)
    assert len(failures) == 3


async def test_bytes_that_are_no_text_in_a_message_end_nothing(user):
    async def script(session: Session) -> None:
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        await session.hear(b"SUB")
        session.say(b"MSG a 1 \xff\xfe 2", "no", b"MSG \xff 1 2", "no", "MSG a 77 2", "no", "MSG a 1 3", "yes")
        await session.serve()

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        assert (await peer.message()).payload == b"yes"


async def test_only_a_status_without_content_means_that_nobody_listens(user):
    async def script(session: Session) -> None:
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        await session.hear(b"SUB")
        for header, payload in (
            ("NATS/1.0 503", ""),
            ("NATS/1.0 503", "x"),
            ("NATS/1.0 100 Idle", ""),
            ("NATS/1.0", ""),
        ):
            size = len(header) + 4
            session.say(f"HMSG a 1 {size} {size + len(payload)}", header, "", payload)
        await session.serve()

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        assert [(await peer.message()).no_responders for _ in range(4)] == [True, False, False, False]


async def test_a_broker_that_does_not_read_cannot_keep_us(user):
    async def script(session: Session) -> None:
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        await asyncio.sleep(600)

    async with fake_broker(script) as url, connected(url, user) as peer:
        for _ in range(30):
            peer.connection.publish("a", bytes(1 << 20))
        await asyncio.wait_for(peer.connection.close(), 30)


async def test_a_broker_that_asks_again_and_again_and_reads_no_answer_fills_no_memory(user):
    async def script(session: Session) -> None:
        await session.greet()
        await session.hear(b"PING")
        session.say("PONG")
        while True:
            session.writer.write(b"PING\r\n" * 10_000)
            await session.writer.drain()

    async with fake_broker(script) as url, connected(url, user) as peer:
        channel = peer.connection._channel
        for _ in range(100):
            await asyncio.sleep(0)
            assert channel.waiting_bytes < 100_000


async def welcome(session: Session) -> None:
    """Take a client in, up to where it counts as connected."""
    await session.greet()
    await session.hear(b"PING")
    session.say("PONG")


def saying(*lines: str):
    """Return the script of a broker that says this to the first client who subscribes, and nothing of it to others."""

    async def script(session: Session) -> None:
        await welcome(session)
        if session.number == 1:
            await session.hear(b"SUB")
            session.say(*lines)
        await session.serve()

    return script


async def test_garbage_that_looks_like_a_refusal_is_garbage(user):
    async with fake_broker(saying('Permissions Violation for Publish to "a"')) as url, connected(url, user) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        assert "no broker" in (await peer.event(Disconnected)).reason
        await peer.event(Reconnected)
        assert peer.events == []


async def test_many_errors_at_once_are_one_loss(user):
    async with fake_broker(saying(*["-ERR 'Invalid Subject'"] * 20)) as url, connected(url, user) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        await peer.event(Disconnected)
        await peer.event(Reconnected)
        assert peer.events == []
        assert peer.connection.connected


async def test_what_the_broker_says_cannot_forge_lines_of_a_log(user, caplog):
    async with fake_broker(saying("-ERR 'x'\nCRITICAL: \x1b[31mall is lost")) as url, connected(url, user) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        reason = (await peer.event(Disconnected)).reason
        await peer.event(Reconnected)
    assert "all is lost" in caplog.text
    assert not {"\n", "\x1b"} & set(reason + "".join(record.getMessage() for record in caplog.records))


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_slow_line_that_moves_is_not_taken_for_a_silent_broker(user, monkeypatch, way):
    monkeypatch.setattr(channel, "_PING_INTERVAL_S", 0.5)

    async def script(session: Session) -> None:
        await welcome(session)
        while True:  # a PONG is behind everything else in either direction, and does not come in time
            await asyncio.sleep(0.005)
            if way == "up":
                await session.reader.read(64 * 1024)
            else:
                session.say("MSG a 1 1", "x")

    async with fake_broker(script) as url, connected(url, user) as peer:
        if way == "up":
            for _ in range(900):
                peer.connection.publish("a", bytes(1 << 16))
        await asyncio.sleep(2.5)
        assert peer.events == []


async def test_two_who_wait_until_all_has_left_both_go_on(user):
    read = asyncio.Event()

    async def script(session: Session) -> None:
        await welcome(session)
        await read.wait()
        while await session.reader.read(1 << 20):
            pass

    async with fake_broker(script) as url, connected(url, user) as peer:
        for _ in range(20):
            peer.connection.publish("a", bytes(1 << 20))

        async def wait_and_send() -> None:
            await peer.connection.writable()
            peer.connection.publish("a", b"small")

        waiting = [asyncio.create_task(wait_and_send()) for _ in range(3)]
        await asyncio.sleep(0)
        read.set()
        await asyncio.wait_for(asyncio.gather(*waiting), 20)


async def test_of_many_messages_that_wait_few_are_given_to_asyncio(user):
    async def script(session: Session) -> None:
        await welcome(session)
        for _ in range(40):
            await asyncio.sleep(0.01)
            await session.reader.read(256 * 1024)
        await asyncio.sleep(600)

    async with fake_broker(script) as url, connected(url, user) as peer:
        transport = peer.connection._channel._transport
        for _ in range(1800):
            peer.connection.publish("a", bytes(16_000))
        held = []
        for _ in range(60):
            await asyncio.sleep(0.01)
            held.append(transport.get_write_buffer_size())
        assert max(held) < 400_000
        assert peer.connection.is_full


async def test_what_is_sent_when_the_broker_hangs_up_is_sent_to_the_next(user):
    heard: list[int] = []
    over = asyncio.Event()

    async def script(session: Session) -> None:
        await welcome(session)
        if session.number <= 10:
            session.writer.write_eof()  # and read what comes until the other side hangs up, too
        while line := await session.reader.readline():
            if line.startswith(b"PING"):
                session.say("PONG")
            elif line.startswith(b"PUB "):
                heard.append(int(await session.reader.readline()))
                if heard[-1] == -1:
                    over.set()

    async with fake_broker(script) as url, connected(url, user, reconnect_wait_s=0.001) as peer:
        number = 0
        for _ in range(10):
            while peer.connection.connected:
                peer.connection.publish("a", b"%d" % number)
                number += 1
                await asyncio.sleep(0)
            await peer.event(Reconnected)
        peer.connection.publish("a", b"-1")
        await asyncio.wait_for(over.wait(), 20)
    assert heard == [*range(number), -1]


async def test_after_closing_has_begun_nothing_can_be_sent_and_nobody_waits(user):
    async def script(session: Session) -> None:
        await welcome(session)
        await asyncio.sleep(600)

    async with fake_broker(script) as url, connected(url, user) as peer:
        for _ in range(20):
            peer.connection.publish("a", bytes(1 << 20))
        closing = asyncio.create_task(peer.connection.close())
        await asyncio.sleep(0)
        with pytest.raises(BrokerUnreachable, match="closed"):
            peer.connection.publish("a", b"")
        await closing


async def test_who_waits_for_a_broker_that_is_away_is_told_when_the_connection_is_closed(user):
    async def script(session: Session) -> None:
        if session.number == 1:
            await welcome(session)
        session.writer.close()

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.event(Disconnected)
        flushed = asyncio.create_task(peer.connection.flush(60))
        await asyncio.sleep(0)
        await peer.connection.close()
        with pytest.raises(BrokerUnreachable, match="closed"):
            await asyncio.wait_for(flushed, 10)


async def test_an_error_while_closing_reaches_who_flushes_as_one_of_ours(user):
    async def script(session: Session) -> None:
        await welcome(session)
        await session.hear(b"PING")
        await asyncio.sleep(0.05)
        session.say("-ERR 'x'")
        await asyncio.sleep(600)

    async with fake_broker(script) as url, connected(url, user) as peer:
        flushed = asyncio.create_task(peer.connection.flush(20))
        await asyncio.sleep(0)
        closing = asyncio.create_task(peer.connection.close())
        with pytest.raises(BrokerUnreachable):
            await flushed
        await closing


async def test_a_callback_that_asks_a_cancelled_future_ends_nothing(user):
    async def script(session: Session) -> None:
        await welcome(session)
        await session.hear(b"SUB")
        session.say("MSG a 1 1", "x", "MSG a 1 1", "y")
        await session.serve()

    async with fake_broker(script) as url, connected(url, user) as peer:
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()

        def callback(message) -> None:
            peer.on_message(message)
            cancelled.result()

        await peer.connection.subscribe("a", callback)
        assert [(await peer.message()).payload for _ in range(2)] == [b"x", b"y"]
        assert peer.events == []


async def test_an_address_whose_challenge_is_no_text_is_passed_over(user):
    async def script(session: Session) -> None:
        session.say('INFO {"nonce": "\\ud800"}')
        await session.hear(b"never")

    async with fake_broker(script) as bad, fake_broker(echo_welcome) as good, connected([bad, good], user) as peer:
        assert peer.connection.connected


async def echo_welcome(session: Session) -> None:
    await welcome(session)
    await session.serve()


async def test_a_broker_that_lets_us_in_and_hangs_up_is_asked_ever_more_seldom(user):
    times = []

    async def script(session: Session) -> None:
        times.append(asyncio.get_running_loop().time())
        await welcome(session)
        session.writer.close()

    async with fake_broker(script) as url, connected(url, user, reconnect_wait_s=0.01):
        while len(times) < 7:
            await asyncio.sleep(0.01)
    assert times[6] - times[5] > 4 * (0.5 * 0.01)  # the sixth time it waits 0.32 s, give or take a half


async def noted(session: Session, heard: list[bytes]) -> None:
    """Answer PINGs, and note what is published."""
    while line := await session.reader.readline():
        if line.startswith(b"PING"):
            session.say("PONG")
        elif line.startswith(b"PUB "):
            heard.append((await session.reader.readexactly(int(line.split()[-1]) + 2))[:-2])


async def test_what_is_published_during_a_renewal_goes_to_the_next_connection(user):
    heard: list[bytes] = []
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def script(session: Session) -> None:
        await welcome(session)
        if session.number == 1:
            await session.hear(b"PING")
            asked.set()
            await go_on.wait()
            session.say("PONG")  # and what came after the PING is never read
            await asyncio.sleep(600)
        await noted(session, heard)

    async with fake_broker(script) as url, connected(url, user) as peer:
        renewal = asyncio.create_task(peer.connection._connect_anew())
        await asked.wait()
        sent = [b"%d" % number for number in range(100)]
        for each in sent:
            peer.connection.publish("a", each)
            await asyncio.sleep(0)
        go_on.set()
        await renewal
        await peer.event(Reconnected)
        await peer.connection.flush()
        assert heard == sent


async def test_what_the_next_broker_would_not_take_does_not_cost_the_rest(user, caplog):
    heard: list[bytes] = []

    async def script(session: Session) -> None:
        if session.number == 1:
            await welcome(session)
            session.writer.close()
            return
        await session.greet(max_payload=100)
        await noted(session, heard)

    async with fake_broker(script) as url, connected(url, user) as peer:
        await peer.event(Disconnected)
        for payload in (b"x" * 100, b"x" * 101, b"y"):
            peer.connection.publish("a", payload)
        await peer.event(Reconnected)
        await peer.connection.flush()
        assert heard == [b"x" * 100, b"y"]
    assert "would not take" in caplog.text
