"""The stage of all attacks: a network with an operator, two institutes that have really joined, and their people.

awi are the victims: bob, who works with its module awi/stats, and colin, a colleague who means him harm. gfz are the
attackers: eve, who runs it and has all its keys, and mallory, one of its people, whom awi lets call two harmless
methods. Whoever acts does so with the files of a computer of their own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import landbridge as lb
from computers import Computer, Site
from integration.identity.attacker import RawClient, Refused
from landbridge import wire
from landbridge.client.access import Access
from landbridge.client.loop import wait_for
from landbridge.hub import NetworkKeys
from landbridge.hub.institutes import Institute, institute_of
from landbridge.hub.inviting import invite_institute, invite_person
from landbridge.hub.joining import ask_issuer, join
from landbridge.protocol import Kind, Message, pack, unpack
from landbridge.security import Credentials, Invitation, KeyPair, decode_jwt, encode_jwt, new_key
from landbridge.settings import local_dir, running_broker

MARK = "what-only-awi-may-know-51c7"
"""Stands in every value of awi/stats that is not shared; no attacker's socket may ever receive it."""

STATS = f"""
from collections.abc import Callable
import xarray as xr
import landbridge as lb

MARK = "{MARK}"
RAN = []

__all__ = ["secret", "soon", "apart", "numbers", "ask", "Vault", "readings", "ran"]

def _runs(name):
    RAN.append(f"{{name}} for {{lb.current_call().caller}}")

@lb.method(share=["gfz/mallory"])
def hello() -> str:
    _runs("hello")
    return lb.current_call().caller

@lb.method(share=["gfz/mallory"])
def same(value):
    _runs("same")
    return value

def secret() -> str:
    _runs("secret")
    return MARK

async def soon() -> str:
    _runs("soon")
    return MARK

@lb.method(process=True)
def apart() -> str:
    return MARK

def numbers(n: int):
    for _ in range(n):
        _runs("numbers")
        yield MARK

def ask(function: Callable[[str], str]) -> str:
    _runs("ask")
    return function(MARK)

class Vault:
    def __init__(self) -> None:
        _runs("Vault")

    def read(self) -> str:
        _runs("Vault.read")
        return MARK

    @staticmethod
    def combination() -> str:
        _runs("Vault.combination")
        return MARK

@lb.dataset
def readings() -> xr.Dataset:
    return xr.Dataset({{"t": ("x", [1.0, 2.0])}}, attrs={{"title": MARK}})

def ran() -> list[str]:
    return RAN
"""


class _Remembering:
    """What a socket gives, all of it kept."""

    def __init__(self, lines: Any, heard: bytearray) -> None:
        self._lines, self._heard = lines, heard

    def readline(self) -> bytes:
        line = self._lines.readline()
        self._heard += line
        return line

    def read(self, count: int) -> bytes:
        data = self._lines.read(count)
        self._heard += data
        return data

    def close(self) -> None:
        self._lines.close()


class Tap(RawClient):
    """A bare connection of somebody, which remembers every byte that it has received."""

    def __init__(self, url: str, credentials: Credentials, who: tuple[str, str] | None = None) -> None:
        self.heard = bytearray()
        caller = credentials.caller
        self.institute, self.person = who or (caller.institute, caller.person)
        super().__init__(url, credentials.jwt, credentials.seed)

    def _connect(self, jwt: str, seed: str) -> None:
        self._lines: Any = _Remembering(self._lines, self.heard)
        super()._connect(jwt, seed)

    def inbox(self, call_id: str, number: int = 0) -> str:
        return f"_INBOX.{self.institute}.{self.person}.{'c' * 32}.{call_id}.{number}"

    def listen(self) -> None:
        """Have what is sent to the own inbox."""
        self.subscribe(f"_INBOX.{self.institute}.{self.person}.*.*.*")

    def call(self, target: str, arguments: Any = None, *, payload: bytes = b"", headers: str = "", **meta: Any) -> str:
        """Ask for a call of ``institute.module.method``, and return its id."""
        call_id = secrets.token_hex(16)
        whole = payload or request(arguments, **meta)
        self.send(f"lb.call.{self.institute}.{self.person}.{target}", whole, self.inbox(call_id), headers)
        return call_id

    def send(self, subject: str, payload: bytes, reply: str, headers: str = "") -> None:
        if not headers:
            self.publish(subject, payload, reply)
            return
        head = f"NATS/1.0\r\n{headers}\r\n\r\n".encode()
        self._send(f"HPUB {subject} {reply} {len(head)} {len(head) + len(payload)}\r\n".encode() + head + payload)
        self._send(b"\r\n")

    def answer(self, call_id: str) -> Message:
        """Wait for what a call comes to."""
        while True:
            delivered = self.wait_for_message()
            if not delivered.payload:
                continue  # the broker says that nobody is there to be asked
            said = unpack(delivered.payload)
            if delivered.subject.split(".")[4] == call_id and said.kind in (Kind.RESULT, Kind.ERROR, Kind.END):
                return said

    def code(self, target: str, arguments: Any = None, **more: Any) -> str:
        """Call, and return the code of the error that it comes to; empty if it comes to none."""
        said = self.answer(self.call(target, arguments, **more))
        return str(said.meta.get("code", "")) if said.kind is Kind.ERROR else ""

    def wait_until_cut(self) -> str:
        """Wait until the server has closed the connection, and return why."""
        with contextlib.suppress(ConnectionError):
            while True:
                self._read()
        return " ".join(self.refusals)


def request(arguments: Any = None, **meta: Any) -> bytes:
    """Return the bytes of a call."""
    return pack(Kind.CALL, 0, {"granted": 1 << 20, **meta}) + b"".join(wire.encode(arguments or {}))


class Actor:
    """Somebody with a computer and a profile."""

    def __init__(self, computer: Computer, profile: str, stack: contextlib.ExitStack, url: str) -> None:
        self.computer, self.profile, self._stack, self.url = computer, profile, stack, url

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Have this process use the files of this computer meanwhile."""
        names = ("XDG_STATE_HOME", "XDG_CONFIG_HOME")
        before = {name: os.environ.get(name) for name in names}
        os.environ.update({name: self.computer.env[name] for name in names})
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    @contextlib.contextmanager
    def connected(self) -> Iterator[lb.Network]:
        """Give the network as it is for this person, through the real client."""
        with self.acting(), lb.connect() as net:
            yield net

    @property
    def credentials(self) -> Credentials:
        return Credentials.parse((self.computer.profiles / f"{self.profile}.creds").read_text())

    @property
    def enrolled(self) -> Credentials:
        """What this person's credential is renewed with."""
        return Credentials.parse((self.computer.profiles / f"{self.profile}.enrol").read_text())

    @property
    def key(self) -> KeyPair:
        return KeyPair.from_seed(self.credentials.seed)

    @property
    def ours(self) -> Institute:
        """The institute whose keys are on this computer."""
        with self.acting():
            found = institute_of(self.profile)
        assert found is not None
        return found

    @property
    def members(self) -> dict[str, Any]:
        """Who belongs to this institute, by public key."""
        with self.acting():
            return dict(self.ours.members().members)

    def tap(self, *, listens: bool = True) -> Tap:
        return self.tap_of(self.credentials, listens=listens)

    def tap_of(self, credentials: Credentials, *, who: tuple[str, str] | None = None, listens: bool = True) -> Tap:
        tap = Tap(self.url, credentials, who)
        self._stack.callback(tap.close)
        if listens:
            tap.listen()
            tap.flush()
        return tap

    def forge(self, name: str, *tags: str, role: Any = "serve", lifetime_s: int = 600) -> Credentials:
        """Return a credential that only a key of this institute makes, whatever our code thinks of the name."""
        user, ours, now = new_key("user", secrets.token_bytes(32)), self.ours, int(time.time())
        claims = decode_jwt(ours.credential(user.public, "x", (), until=now + lifetime_s, now=now, role=role))
        claims["name"], claims["jti"] = name, secrets.token_hex(8)
        claims["nats"]["tags"] += tags
        return Credentials(encode_jwt(claims, ours.keys[role].seed), user.seed)


def stays_out(actor: Actor, credentials: Credentials) -> None:
    """Somebody is not let in with a credential; one that has just expired is good until the end of that second."""
    try:
        tap = actor.tap_of(credentials)
    except (Refused, ConnectionError):
        return
    assert "User Authentication Expired" in tap.wait_until_cut()


class Stage:
    """All who act."""

    def __init__(self, folder: Any, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.site = Site(folder, stack)
        self.operator = Actor(self.site.operator, "", stack, "")
        with self.operator.acting():
            broker = running_broker()
            assert broker is not None
        self.url = self.operator.url = broker.url
        self.awi, self.eve = self.institute("awi"), self.institute("gfz")
        with ThreadPoolExecutor() as pool:  # each takes a second or two to start
            issuers = [pool.submit(each.computer.start, "admit", "--json") for each in (self.awi, self.eve)]
            served = pool.submit(self.awi.computer.serve, STATS, "awi/stats")
            self.issuers = [issuer.result() for issuer in issuers]
            self.stats = served.result()
        self.bob, self.colin = self.person(self.awi, "bob"), self.person(self.awi, "colin")
        self.mallory, self.anna = self.person(self.eve, "mallory"), self.person(self.eve, "anna")
        self.net = stack.enter_context(self._net_of_bob())

    @contextlib.contextmanager
    def _net_of_bob(self) -> Iterator[Any]:
        with self.bob.acting():
            net = lb.connect()
            dir(net["awi/stats"])  # from now on he knows awi by its root key
        with net:
            yield net

    def actor(self, name: str, profile: str) -> Actor:
        """Return somebody with an empty computer."""
        return Actor(self.site.computer(name), profile, self._stack, self.url)

    def invite_institute(self, name: str, *, replace: bool = False) -> Invitation:
        now = int(time.time())
        with self.operator.acting():
            return wait_for(invite_institute(name, redeem_by=now + 600, now=now, replace=replace), 30.0)

    def invite_person(self, admin: Actor, name: str, *modules: str, lasts_s: int = 600) -> Invitation:
        now = int(time.time())
        with admin.acting():
            work = invite_person(admin.ours, name, modules, until=now + lasts_s, redeem_by=now + 600, now=now)
            return wait_for(work, 30.0)

    def institute(self, name: str) -> Actor:
        """Have an institute join, and return whoever runs it."""
        admin, invitation = self.actor(name, name), self.invite_institute(name)
        with admin.acting():
            join(invitation.format())
        return admin

    def person(self, admin: Actor, name: str, *modules: str, lasts_s: int = 600) -> Actor:
        """Have a person join."""
        invitation = self.invite_person(admin, name, *modules, lasts_s=lasts_s)
        person = self.actor(f"{admin.profile}-{name}", admin.profile)
        with person.acting():
            join(invitation.format())
        return person

    def ask(self, credentials: Credentials, target: str, **arguments: object) -> object:
        """Call a method of an issuer, ``lb.join`` or ``awi.renew``, with whatever credential."""
        caller, (issuer, method) = credentials.caller, target.split(".")
        access = Access((self.url,), caller.institute, caller.person, lambda: credentials.jwt, credentials.sign)
        return ask_issuer(access, method, arguments, of=issuer)

    @property
    def keys(self) -> NetworkKeys:
        """What the operator knows of institutes."""
        with self.operator.acting():
            return NetworkKeys.load(local_dir())

    @property
    def ran(self) -> list[str]:
        """What has run at awi/stats, and for whom, until now."""
        return list(self.net["awi/stats"].ran())


@contextlib.contextmanager
def running_stage(folder: Any) -> Iterator[Stage]:
    """Give the stage; all that was started is ended with the context."""
    with contextlib.ExitStack() as stack:
        yield Stage(folder, stack)
