"""Credentials of a connection: renewed, expired, revoked, refused, unreadable."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from integration.broker.support import connected
from landbridge.broker import Closed, Disconnected, Reconnected, push_account, start_server
from landbridge.errors import BrokerUnreachable, NotConfigured, PermissionDenied


async def test_credentials_that_expire_are_renewed_before_and_a_call_goes_on(network, server):
    user = network.user(life_s=3)
    async with connected(server.url, user) as peer, connected(server.url, network.user()) as backend:
        await backend.connection.subscribe("slow", backend.on_message)
        await backend.connection.flush()  # the broker knows of it before somebody else publishes there
        await peer.connection.subscribe("i", peer.on_message)
        peer.connection.publish("slow", b"", reply="i")
        request = await backend.message()
        user.jwt = network.user_jwt(user.key, network.account, life_s=600)
        await peer.event(Disconnected)
        await peer.event(Reconnected)
        await peer.connection.flush()
        backend.connection.publish(request.reply, b"answer")
        assert (await peer.message()).payload == b"answer"
        assert not peer.events


async def test_credentials_that_are_not_renewed_end_the_connection_with_advice(network, server):
    async with connected(server.url, network.user(life_s=2)) as peer:
        closed = await peer.event(Closed)
        assert "expired at" in closed.reason
        assert "landbridge join" in closed.reason
        assert not peer.connection.connected
        with pytest.raises(BrokerUnreachable, match="closed"):
            peer.connection.publish("a", b"")


async def test_revoked_credentials_end_the_connection(network, server):
    user = network.user()
    key = user.key.public_key.decode()
    async with connected(server.url, user) as peer, connected(server.url, network.user(network.system)) as system:
        banned = network.account_jwt(network.account, revocations={key: 2**40})
        await push_account(system.connection, banned)
        assert "refuses the credentials" in (await peer.event(Closed)).reason


async def test_credentials_refused_at_a_reconnect_end_the_connection(network, tmp_path):
    server = start_server(network.config())
    port = urlsplit(server.url).port
    async with connected(server.url, network.user()) as peer:
        server.kill()
        foreign = type(network)(tmp_path / "foreign")
        with start_server(foreign.config(port=port)):
            assert "refuses the credentials" in (await peer.event(Closed)).reason


async def test_new_credentials_are_used_at_a_reconnect(network):
    config = network.config()
    server = start_server(config)
    try:
        user = network.user()
        async with connected(server.url, user) as peer:
            server.kill()
            await peer.event(Disconnected)
            user.key.wipe()
            other = network.user()
            user.key, user.jwt = other.key, other.jwt
            server = start_server(replace(config, port=urlsplit(server.url).port))
            await peer.event(Reconnected)
    finally:
        server.stop()


async def test_credentials_that_cannot_be_read_are_told_without_their_text(network, server):
    user = network.user()
    user.user_jwt = lambda: int("SUSECRET")
    with pytest.raises(NotConfigured, match="could not be read") as caught:
        async with connected(server.url, user):
            pass
    assert "SECRET" not in str(caught.value)


async def test_an_error_of_the_credentials_themselves_comes_through(network, server):
    user = network.user()

    def refuse(nonce: bytes) -> bytes:
        raise PermissionDenied("locked")

    user.sign = refuse
    with pytest.raises(PermissionDenied, match="locked"):
        async with connected(server.url, user):
            pass
