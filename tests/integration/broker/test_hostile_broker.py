"""What we make of a broker that is slow, broken or hostile."""

from __future__ import annotations

import asyncio

import pytest

from integration.broker.fakebroker import Session, fake_broker
from integration.broker.support import Network, connected
from landbridge.broker import Closed, Disconnected, Reconnected
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
