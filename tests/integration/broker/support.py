"""A network to test the broker with: an operator, its accounts and users, signed here; and connections to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import nkeys

from landbridge.broker import Connection, Event, Message, Reading, ServerConfig, SharedLoop

PREFIXES = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}
UNLIMITED = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def new_key(kind: str) -> nkeys.KeyPair:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), PREFIXES[kind]))


def signed(issuer: nkeys.KeyPair, subject: str, nats: dict, **claims) -> str:
    body = {"iat": int(time.time()), "iss": issuer.public_key.decode(), "sub": subject, "nats": {"version": 2, **nats}}
    body |= claims
    body["jti"] = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    head = b64(b'{"typ":"JWT","alg":"ed25519-nkey"}') + "." + b64(json.dumps(body).encode())
    return head + "." + b64(issuer.sign(head.encode()))


@dataclass
class User:
    """Credentials in the form a connection takes them; `jwt` may be exchanged while connected."""

    key: nkeys.KeyPair
    jwt: str
    asked: int = 0

    def user_jwt(self) -> str:
        self.asked += 1
        return self.jwt

    def sign(self, nonce: bytes) -> bytes:
        return self.key.sign(nonce)


@dataclass
class Network:
    """Keys of an operator with a system account and one account for everybody."""

    directory: Path
    limits: ClassVar[dict] = {**UNLIMITED, "wildcards": True}
    operator: nkeys.KeyPair = field(default_factory=lambda: new_key("operator"))
    system: nkeys.KeyPair = field(default_factory=lambda: new_key("account"))
    account: nkeys.KeyPair = field(default_factory=lambda: new_key("account"))

    def account_jwt(self, account: nkeys.KeyPair, **extra) -> str:
        issued = extra.pop("iat", int(time.time()))
        nats = {"type": "account", "limits": self.limits, **extra}
        return signed(self.operator, account.public_key.decode(), nats, name="a", iat=issued)

    def config(self, **changes) -> ServerConfig:
        system = self.system.public_key.decode()
        accounts = {key.public_key.decode(): self.account_jwt(key) for key in (self.system, self.account)}
        operator = signed(
            self.operator, self.operator.public_key.decode(), {"type": "operator", "system_account": system}, name="o"
        )
        return ServerConfig(operator, system, accounts, self.directory, **changes)

    def user(self, account: nkeys.KeyPair | None = None, *, key: nkeys.KeyPair | None = None, **options) -> User:
        key = key or new_key("user")
        return User(key, self.user_jwt(key, account or self.account, **options))

    def user_jwt(self, key: nkeys.KeyPair, account: nkeys.KeyPair, *, life_s: float | None = None, **nats) -> str:
        claims = {} if life_s is None else {"exp": int(time.time() + life_s)}
        nats = {"type": "user", "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}, **nats}
        return signed(account, key.public_key.decode(), nats, name="u", **claims)


class Peer:
    """A connection, with the messages and events that came to it in order."""

    def __init__(self) -> None:
        self.connection: Connection
        self.events: list[Event] = []
        self.messages: list[Message] = []
        self._news = asyncio.Event()

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def on_message(self, message: Message) -> None:
        self.messages.append(message)
        self._news.set()

    async def event(self, kind: type[Event]) -> Event:
        """Return the next event of this kind and forget it and those before it."""
        while True:
            for index, event in enumerate(self.events):
                if isinstance(event, kind):
                    del self.events[: index + 1]
                    return event
            await self._wait()

    async def message(self) -> Message:
        """Return the next message."""
        while not self.messages:
            await self._wait()
        return self.messages.pop(0)

    async def _wait(self) -> None:
        self._news.clear()
        await asyncio.wait_for(self._news.wait(), 20)


class Nobody:
    """Does no work, as these tests give none to the thread that reads."""

    def deliver(self) -> None:
        pass

    def do(self, work) -> None:
        raise AssertionError

    def left(self, what) -> None:
        raise AssertionError

    def ended(self) -> None:
        raise AssertionError


class AlwaysReading(Reading):
    """Reads in a thread from the start, though it is given no work."""

    def _follow(self, channel) -> None:
        super()._follow(channel)
        if not self._ended:
            self._begin(channel)

    def _handle(self, me) -> None:
        self._rounds = 0
        super()._handle(me)


@asynccontextmanager
async def connected(url: str | list[str], user: User, **options):
    """Open a connection for `user`, as a `Peer`, and close it at the end; in a shared loop, a thread reads it."""
    peer = Peer()
    urls = [url] if isinstance(url, str) else url
    options = {"name": "test", "reconnect_wait_s": 0.02, "on_event": peer.on_event, **options}
    peer.connection = await Connection.open(urls, user_jwt=user.user_jwt, sign=user.sign, **options)
    loop = asyncio.get_running_loop()
    reading = AlwaysReading(loop, peer.connection, Nobody()) if isinstance(loop, SharedLoop) else None
    try:
        yield peer
    finally:
        if reading is not None:
            reading.close()
        await peer.connection.close()
