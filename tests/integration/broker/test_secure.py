"""Brokers that are reached through TLS or a websocket: real servers with a certificate authority of the test's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from authority import Authority
from integration.broker.fakebroker import Session, fake_broker
from integration.broker.support import connected
from landbridge.broker import Disconnected, Reconnected, find_server, start_server
from landbridge.broker.probe import HopFailed, probe
from landbridge.errors import BrokerUnreachable, MissingExtra, NotConfigured
from landbridge.tls import Tls


@dataclass
class Secured:
    """A nats-server with a certificate for 127.0.0.1, by whichever way it is to be reached."""

    folder: Path
    authority: trustme.CA
    process: subprocess.Popen[bytes]
    ports: dict[str, list[str]]

    def url(self, scheme: str) -> str:
        kind = "websocket" if scheme in ("ws", "wss") else "nats"
        return f"{scheme}://127.0.0.1:{self.ports[kind][0].rpartition(':')[2]}"

    def trusted(self) -> Tls:
        self.authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        return Tls(ca=self.folder / "ca.pem")


@contextmanager
def running(folder: Path, authority: trustme.CA, port: int = -1, *, secure_websocket: bool = True):
    """Start nats-server with TLS, as whoever runs one of their own would."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    tls = 'tls { cert_file: "cert.pem", key_file: "key.pem" }'
    (folder / "server.conf").write_text(
        f'listen: "127.0.0.1:{port}"\nports_file_dir: "."\nmax_payload: 8MB\n{tls}\n'
        f'websocket {{ listen: "127.0.0.1:-1", {tls if secure_websocket else "no_tls: true"} }}\n'
    )
    for old in folder.glob("*.ports"):
        old.unlink()
    process = subprocess.Popen(
        [find_server(), "-c", "server.conf"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        file = folder / f"nats-server_{process.pid}.ports"
        while not file.exists() or not file.read_text():
            assert process.poll() is None
        yield Secured(folder, authority, process, json.loads(file.read_text()))
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(tmp_path, authority):
    with running(tmp_path, authority) as secured:
        yield secured


@pytest.mark.parametrize("scheme", ["tls", "nats", "wss"])
async def test_messages_of_all_sizes_arrive_in_order(network, secured, scheme):
    async with connected(secured.url(scheme), network.user(), tls=secured.trusted()) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        sizes = [0, 1, 100, 300_000, 2_000_000, 5] * 3 + [8 * 1024 * 1024] + [10] * 2000
        for number, size in enumerate(sizes):
            peer.connection.publish("a", number.to_bytes(4, "big"), bytes(max(0, size - 4)))
            if size > 100_000:
                await peer.connection.writable()
        await peer.connection.flush(60)
        assert [int.from_bytes(message.payload[:4], "big") for message in peer.messages] == list(range(len(sizes)))
        assert [len(message.payload) for message in peer.messages] == [max(4, size) for size in sizes]


async def test_through_a_websocket_without_tls_messages_arrive(network, tmp_path, authority):
    with running(tmp_path, authority, secure_websocket=False) as secured:
        async with connected(secured.url("ws"), network.user()) as peer:
            await peer.connection.subscribe("a", peer.on_message)
            peer.connection.publish("a", b"x" * 1_000_000)
            assert (await peer.message()).payload == b"x" * 1_000_000
            assert await peer.connection.rtt() > 0


async def test_the_embedded_broker_is_reached_through_its_websocket(network, server):
    async with connected(server.websocket_url, network.user()) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        peer.connection.publish("a", b"x" * 7_000_000)
        assert (await peer.message()).payload == b"x" * 7_000_000
        assert peer.connection.server_id == server.server_id


@pytest.mark.parametrize("scheme", ["tls", "nats", "wss"])
async def test_a_certificate_of_an_unknown_authority_is_refused(network, secured, scheme):
    with pytest.raises(BrokerUnreachable, match="no secure connection"):
        async with connected(secured.url(scheme), network.user()):
            pass


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_a_broker_that_comes_back_is_found_again(network, tmp_path, authority, scheme):
    with running(tmp_path, authority) as secured:
        url, trusted = secured.url(scheme), secured.trusted()
        if scheme == "wss":  # its port cannot be chosen beforehand, so the connection alone is cut
            async with connected(url, network.user(), tls=trusted) as peer:
                await peer.connection.subscribe("a", peer.on_message)
                peer.connection._channel._transport.abort()
                await peer.event(Disconnected)
                await peer.event(Reconnected)
                peer.connection.publish("a", b"again")
                assert (await peer.message()).payload == b"again"
            return
        async with connected(url, network.user(), tls=trusted) as peer:
            await peer.connection.subscribe("a", peer.on_message)
            secured.process.kill()
            secured.process.wait()
            await peer.event(Disconnected)
            with running(tmp_path, authority, int(url.rpartition(":")[2])):
                await peer.event(Reconnected)
                peer.connection.publish("a", b"again")
                assert (await peer.message()).payload == b"again"


@pytest.mark.parametrize("more", ["PONG", "PING", "MSG a 1 1\r\nx", 'INFO {"max_payload": 9}', "half of a li"])
async def test_what_comes_in_the_clear_before_tls_is_not_believed(network, more):
    async def script(session: Session) -> None:
        session.writer.write(
            b'INFO {"tls_required": true, "nonce": "abc"}\r\n' + more.encode() + b"\r\n" * ("li" not in more)
        )
        await session.hear(b"never")

    async with fake_broker(script) as url:
        with pytest.raises(BrokerUnreachable, match="goes on before it knows who we are"):
            async with connected(url, network.user()):
                pass


async def test_what_answers_no_websocket_is_told(network):
    async def script(session: Session) -> None:
        await session.hear(b"Sec-WebSocket")
        session.say("HTTP/1.1 404 Not Found", "Content-Length: 0", "")

    async with fake_broker(script) as url:
        with pytest.raises(BrokerUnreachable, match=r"no websocket: .*404"):
            async with connected(url.replace("nats:", "ws:"), network.user()):
                pass


async def test_a_websocket_that_the_broker_closes_is_a_loss(network, secured):
    async with connected(secured.url("wss"), network.user(), tls=secured.trusted()) as peer:
        secured.process.terminate()
        await peer.event(Disconnected)
        peer.connection.publish("a", b"kept")
        await asyncio.sleep(0)
        assert not peer.connection.connected


async def test_without_the_package_for_websockets_the_extra_is_named(network, secured, monkeypatch):
    monkeypatch.setitem(sys.modules, "websockets.client", None)
    with pytest.raises(MissingExtra, match=r"landbridge\[ws\]"):
        async with connected(secured.url("wss"), network.user(), tls=secured.trusted()):
            pass


@pytest.mark.parametrize("offered", [{}, {"tls_required": False}, {"tls_verify": True}])
async def test_whoever_on_the_way_takes_encryption_away_hears_nothing(network, offered):
    heard = []

    async def script(session: Session) -> None:
        session.say("INFO " + json.dumps({"server_id": "F", "max_payload": 1000, "nonce": "abc", **offered}))
        heard.append(await session.reader.read())

    async with fake_broker(script) as url:
        with pytest.raises(BrokerUnreachable, match="offers no TLS, which a tls:// address demands"):
            async with connected(url.replace("nats:", "tls:"), network.user()):
                pass
        while not heard:
            await asyncio.sleep(0)
    assert heard == [b""]


CAUSES = {
    "authority": ("tls", "tls", "an authority that is not trusted here"),
    "websocket of such": ("wss", "tls", "an authority that is not trusted here"),
    "name": ("tls", "tls", "for another name than localhost"),
    "expired": ("wss", "tls", "has expired"),
    "no certificate": ("tls", "client certificate", "demands a certificate of ours, and none is configured"),
    "other certificate": ("wss", "client certificate", "does not accept our certificate in"),
    "plain": ("tls", "tls", "offers no TLS, which a tls:// address demands"),
    "plain websocket": ("wss", "tls", "does not begin with encryption"),
    "wrong port": ("wss at nats", "tls", "does not begin with encryption"),
}


@pytest.mark.parametrize("cause", CAUSES)
async def test_each_way_of_failing_is_named_by_errors_and_by_the_doctor(network, tmp_path, cause):
    scheme, hop, said = CAUSES[cause]
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    certificate, key = authority.issue("127.0.0.1", expired=cause == "expired")
    mine = other.issue("me@awi.de", file="mine")
    trusts = other if "authority" in cause or "such" in cause else authority
    tls = Tls(trusts.ca, *(mine if cause == "other certificate" else ()))
    config = network.config(
        tls_certificate=certificate, tls_key=key, tls_client_ca=authority.ca if "certificate" in cause else None
    )
    with start_server(network.config() if cause.startswith("plain") else config) as server:
        where = server.websocket_url if scheme == "wss" else server.url
        url = f"{scheme[:3]}://{'localhost' if cause == 'name' else '127.0.0.1'}:{where.rpartition(':')[2]}"
        with pytest.raises(BrokerUnreachable, match=said) as told:
            async with connected(url, network.user(), tls=tls):
                pass
        with pytest.raises(HopFailed, match=said) as failed:
            probe(url, lambda hop, found: None, tls)
    assert failed.value.hop == hop
    assert failed.value.advice
    assert url in str(told.value)


async def test_whoever_has_taken_the_port_of_the_own_broker_is_not_believed(network, tmp_path):
    certificate, key = Authority(tmp_path).issue("127.0.0.1")
    with start_server(network.config(tls_certificate=certificate, tls_key=key)) as server:
        own = Tls(pinned=network.directory / "pinned.pem")
        async with connected(server.url, network.user(), tls=own) as peer:
            assert peer.connection.connected
        other = Authority(tmp_path / "other").issue("127.0.0.1")
        (tmp_path / "impostor").mkdir()
        impostor = replace(
            network.config(), directory=tmp_path / "impostor", tls_certificate=other.certificate, tls_key=other.key
        )
        with start_server(impostor) as taken:
            with pytest.raises(BrokerUnreachable, match="not that of the broker of this computer"):
                async with connected(taken.url, network.user(), tls=own):
                    pass
            with pytest.raises(HopFailed, match="not that of the broker of this computer"):
                probe(taken.websocket_url, lambda hop, found: None, own)


async def test_nonsense_within_what_is_encrypted_is_an_answer_to_the_doctor(tmp_path):
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)

    def serve() -> None:
        stream, _ = listener.accept()
        with context.wrap_socket(stream, server_side=True) as secured:
            while not secured.recv(65536).endswith(b"\r\n\r\n"):
                pass
            secured.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            os.write(secured.fileno(), b"\x00nonsense" * 100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(HopFailed) as failed:
                probe(f"wss://127.0.0.1:{listener.getsockname()[1]}", lambda hop, found: None, authority.trusted)
        finally:
            thread.join(20)
    assert failed.value.hop == "tls"


async def test_an_encrypted_websocket_that_is_spoken_to_in_the_clear_is_told(network, tmp_path):
    certificate, key = Authority(tmp_path).issue("127.0.0.1")
    with start_server(network.config(tls_certificate=certificate, tls_key=key)) as server:
        url = server.websocket_url.replace("wss:", "ws:")
        with pytest.raises(BrokerUnreachable, match="its address begins with wss://"):
            async with connected(url, network.user()):
                pass
        with pytest.raises(HopFailed, match="does not take unencrypted requests") as failed:
            probe(url, lambda hop, found: None, Tls())
        assert failed.value.hop == "tls"
        assert "wss://" in failed.value.advice


async def test_a_file_that_cannot_be_used_is_named_before_anybody_is_dialled(network, tmp_path):
    sessions = []

    async def script(session: Session) -> None:
        sessions.append(session)

    async with fake_broker(script) as url:
        with pytest.raises(NotConfigured, match=r"missing\.pem"):
            async with connected(url.replace("nats:", "wss:"), network.user(), tls=Tls(ca=tmp_path / "missing.pem")):
                pass
        await asyncio.sleep(0)
    assert sessions == []


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame as servers send it (RFC 6455, section 5.2)."""
    assert len(payload) < 126
    return bytes((0x80 | opcode, len(payload))) + payload


async def upgraded(session: Session) -> None:
    """Take a websocket client in, up to where it counts as connected, whatever it says."""
    key = ""
    while (line := await session.reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(": ")
        key = value.strip() if name == "Sec-WebSocket-Key" else key
    accepted = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    session.say("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    session.say(f"Sec-WebSocket-Accept: {accepted}", "")
    session.writer.write(frame(2, b'INFO {"server_id": "F", "max_payload": 1000000}\r\n'))
    for _ in range(2):
        await session.reader.read(65536)
        session.writer.write(frame(2, b"PONG\r\n"))


async def test_what_a_callback_sends_as_the_broker_closes_a_websocket_is_kept(network):
    async def script(session: Session) -> None:
        await upgraded(session)
        if session.number == 1:
            await session.reader.read(65536)
            session.writer.write(frame(2, b"MSG a 1 1\r\nx\r\n") + frame(8, b"\x03\xe8"))
        await session.reader.read()

    async with (
        fake_broker(script) as url,
        connected(url.replace("nats:", "ws:"), network.user(), connect_timeout_s=1) as peer,
    ):

        def callback(message) -> None:
            for number in range(40):
                peer.connection.publish("b", b"%d" % number)
            peer.on_message(message)

        await peer.connection.subscribe("a", callback)
        await peer.message()
        await peer.event(Disconnected)
        assert len(peer.connection._channel._waiting) >= 40


async def test_a_websocket_that_asks_again_and_again_and_reads_no_answer_is_lost(network):
    async def script(session: Session) -> None:
        await upgraded(session)
        while session.number == 1:
            session.writer.write(frame(9, b"x" * 125) * 1000)
            await session.writer.drain()
        await session.reader.read()

    async with (
        fake_broker(script) as url,
        connected(url.replace("nats:", "ws:"), network.user(), connect_timeout_s=1) as peer,
    ):
        assert "reads no answer" in (await peer.event(Disconnected)).reason
