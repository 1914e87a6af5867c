"""Brokers behind a proxy, and all that a proxy may do in place of letting us through: to clients and to the doctor."""

from __future__ import annotations

import base64
import logging
import socket
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from authority import Authority
from connectproxy import connect_proxy
from integration.broker.support import connected
from landbridge.broker import Disconnected, Reconnected, start_server
from landbridge.broker.probe import HopFailed, probe
from landbridge.errors import BrokerUnreachable, NotConfigured
from landbridge.tls import Tls

URLS = {"tls": "tls://hub.example.org", "wss": "wss://hub.example.org"}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.fixture
def encrypted(network, authority):
    certificate, key = authority.issue("hub.example.org")
    with start_server(network.config(tls_certificate=certificate, tls_key=key)) as server:
        yield server


@pytest.fixture
def places(encrypted):
    return {"hub.example.org:4222": encrypted.url, "hub.example.org:443": encrypted.websocket_url}


def steps(url: str, tls: Tls) -> dict[str, str]:
    found: dict[str, str] = {}
    probe(url, found.__setitem__, tls)
    return found


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_a_broker_is_reached_through_a_proxy_that_demands_a_login(
    network, authority, places, scheme, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG)
    user = network.user()
    login = "Basic " + base64.b64encode(b"anna:s3cret").decode()
    with connect_proxy(places, login=login) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//anna:s3cret@"))
        async with connected(URLS[scheme], user, tls=authority.trusted) as peer:
            await peer.connection.subscribe("a", peer.on_message)
            peer.connection.publish("a", b"x" * 3_000_000)
            assert (await peer.message()).payload == b"x" * 3_000_000
        assert len(proxy.asked) == 1
        assert proxy.carried_bytes > 6_000_000
        assert user.jwt.encode()[:40] not in proxy.heard  # it is encrypted
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_a_line_through_a_proxy_that_is_cut_is_made_anew(network, authority, places, scheme, monkeypatch):
    with connect_proxy(places) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with connected(URLS[scheme], network.user(), tls=authority.trusted) as peer:
            await peer.connection.subscribe("a", peer.on_message)
            peer.connection._channel._transport.abort()
            await peer.event(Disconnected)
            await peer.event(Reconnected)
            peer.connection.publish("a", b"again")
            assert (await peer.message()).payload == b"again"
        assert len(proxy.asked) == 2


async def test_whom_no_proxy_names_is_reached_directly(network, authority, encrypted, monkeypatch):
    url = encrypted.url.replace("127.0.0.1", "localhost")
    with connect_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(BrokerUnreachable, match="for another name than localhost"):
            async with connected(url, network.user(), tls=authority.trusted):
                pass
        assert proxy.asked == []


@pytest.mark.parametrize("scheme", ["tls", "wss"])
def test_the_doctor_goes_through_the_proxy(authority, places, scheme, monkeypatch):
    with connect_proxy(places) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        found = steps(URLS[scheme], authority.trusted)
        assert list(found) == (
            ["proxy", "tls", "websocket", "server"] if scheme == "wss" else ["proxy", "tls", "server"]
        )
        assert f"127.0.0.1:{proxy.port}" in found["proxy"]
        assert len(proxy.asked) == 1


ANSWERS = {
    "login": (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "does not accept the name and password"),
    "forbidden": (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not let us through to hub.example.org:443"),
    "gateway": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "cannot reach hub.example.org:443"),
    "nothing": (b"", "hung up without an answer"),
    "half": (b"HTTP/1.1 200 Conn", "hung up in the middle"),
    "garbage": (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP proxy"),
    "binary": (b"\x00\xff" * 5000, "no HTTP proxy"),
    "endless": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, "no end"),
}


def told(error: BrokerUnreachable | HopFailed) -> str:
    return f"{error} {error.advice}" if isinstance(error, HopFailed) else str(error)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_proxy_that_does_not_let_us_through_is_told(network, authority, answer, monkeypatch):
    said, expected = ANSWERS[answer]
    with connect_proxy(answer=said) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//anna:s3cret@"))
        with pytest.raises(BrokerUnreachable, match=expected) as caught:
            async with connected(URLS["wss"], network.user(), tls=authority.trusted):
                pass
        with pytest.raises(HopFailed, match=expected) as failed:
            steps(URLS["wss"], authority.trusted)
        assert failed.value.hop == "proxy"
        assert failed.value.advice
        for error in (caught.value, failed.value):
            assert f"127.0.0.1:{proxy.port}" in told(error)
            assert "s3cret" not in told(error)
            assert base64.b64encode(b"anna:s3cret").decode() not in told(error)


@pytest.mark.parametrize("more", [b"hello", b"\x15\x03\x03\x00\x02\x02\x50", b"INFO {}\r\n"])
async def test_what_a_proxy_adds_behind_its_answer_is_not_believed(network, authority, more, monkeypatch):
    with connect_proxy(answer=b"HTTP/1.1 200 OK\r\n\r\n" + more) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(BrokerUnreachable, match="through the proxy"):
            async with connected(URLS["wss"], network.user(), tls=authority.trusted):
                pass
        with pytest.raises(HopFailed) as failed:
            steps(URLS["wss"], authority.trusted)
        assert failed.value.hop == "tls"


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_a_proxy_where_nobody_listens_is_told(network, authority, scheme, monkeypatch):
    with socket.socket() as held:  # bound, and not listening: nobody else can get the port meanwhile
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(BrokerUnreachable, match=r"the proxy .*: it cannot be reached: nothing listens there"):
            async with connected(URLS[scheme], network.user(), tls=authority.trusted):
                pass
        with pytest.raises(HopFailed, match="cannot be reached: nothing listens there") as failed:
            steps(URLS[scheme], authority.trusted)
        assert failed.value.hop == "proxy"


async def test_a_proxy_that_is_silent_is_told(network, authority, monkeypatch):
    monkeypatch.setattr("landbridge.broker.probe._TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(BrokerUnreachable, match=r"no answer through the proxy .* within 0\.2 s"):
            async with connected(URLS["wss"], network.user(), tls=authority.trusted, connect_timeout_s=0.2):
                pass
        with pytest.raises(HopFailed, match="does not answer") as failed:
            steps(URLS["wss"], authority.trusted)
        assert failed.value.hop == "proxy"


async def test_an_address_of_a_proxy_that_cannot_be_used_is_told(network, authority, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://anna:s3cret@proxy:1080")
    with pytest.raises(NotConfigured, match="'socks5' proxies are not known"):
        async with connected(URLS["wss"], network.user(), tls=authority.trusted):
            pass
    with pytest.raises(HopFailed, match="'socks5' proxies are not known") as failed:
        steps(URLS["wss"], authority.trusted)
    assert failed.value.hop == "proxy"
    assert "s3cret" not in told(failed.value)


@contextmanager
def opening(authority: Authority, issued):
    """Give a proxy that opens what is encrypted, with a certificate of its own."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)

    def serve() -> None:
        for _ in range(2):
            stream, _ = listener.accept()
            with stream:
                while not stream.recv(65536).endswith(b"\r\n\r\n"):
                    pass
                stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                try:
                    context.wrap_socket(stream, server_side=True).close()
                except OSError:  # the client does not believe it
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(20)


async def test_a_proxy_that_opens_what_is_encrypted_is_not_believed(network, authority, tmp_path, monkeypatch):
    with opening(authority, Authority(tmp_path / "other").issue("hub.example.org")) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        told_of = f"through the proxy {urlsplit(url).netloc}.*not trusted here"
        with pytest.raises(BrokerUnreachable, match=told_of):
            async with connected(URLS["wss"], network.user(), tls=authority.trusted):
                pass
        with pytest.raises(HopFailed, match="not trusted here") as failed:
            steps(URLS["wss"], authority.trusted)
        assert failed.value.hop == "tls"
