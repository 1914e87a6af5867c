"""Eve: a person with a real credential and a bare connection, who says to backends whatever she likes."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from integration.identity.attacker import RawClient
from landbridge import wire
from landbridge.broker import Connection
from landbridge.hub import mint
from landbridge.protocol import Kind, control_subject, pack
from landbridge.settings import local_dir, running_broker


def credentials(institute: str, person: str, *modules: str) -> Any:
    return asyncio.run(mint(local_dir(), institute, person, modules, now=int(time.time()), random=secrets.token_bytes))


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(what))


class Eve:
    """`gfz/eve`, who attacks one module of `awi`."""

    def __init__(self, module: str, *, person: str = "eve", listens: bool = False) -> None:
        self.module, self.person = module, person
        self.raw = RawClient.of(running_broker().url, credentials("gfz", person))
        if listens:
            self.raw.subscribe(f"_INBOX.gfz.{person}.*.*.*")

    def inbox(self, call_id: str, number: int = 0) -> str:
        return f"_INBOX.gfz.{self.person}.{'0' * 32}.{call_id}.{number}"

    def call(self, method: str, *, granted: int = 1 << 40, call_id: str = "", **arguments: Any) -> str:
        """Ask for a call; return its id."""
        call_id = call_id or secrets.token_hex(16)
        request = pack(Kind.CALL, 0, {"granted": granted}) + b"".join(wire.encode(arguments))
        self.request(method, request, call_id)
        return call_id

    def request(self, method: str, payload: bytes, call_id: str) -> None:
        self.raw.publish(f"lb.call.gfz.{self.person}.awi.{self.module}.{method}", payload, self.inbox(call_id))

    def control(self, instance: str, call_id: str, payload: bytes, operation: str = "message") -> None:
        subject = control_subject("gfz", self.person, "awi", self.module, instance, call_id, operation)
        self.raw.publish(subject, payload, self.inbox(call_id, 1))

    def flush(self) -> None:
        self.raw.flush()

    def __enter__(self) -> Eve:
        return self

    def __exit__(self, *exc: object) -> None:
        self.raw.close()


class Impostor:
    """A backend with a real credential of `gfz` that does whatever a test tells it to.

    `answer` is given the method that is called and returns the messages to answer with; `control` is given what the
    caller says later.
    """

    def __init__(self, module: str, answer: Any, control: Any = None) -> None:
        self._module, self._answer, self._control = module, answer, control
        self.instance = secrets.token_hex(16)
        self.replies: list[str] = []

    async def __aenter__(self) -> Impostor:
        held = await mint(local_dir(), "gfz", "_M", [self._module], now=int(time.time()), random=secrets.token_bytes)
        self.connection = await Connection.open(
            [running_broker().url], user_jwt=lambda: held.jwt, sign=held.sign, name="impostor", on_event=lambda _: None
        )

        def arrived(message: Any) -> None:
            self.replies.append(message.reply)
            for payload in self._answer(message.subject.rpartition(".")[2]):
                self.connection.publish(message.reply, payload)

        def heard(message: Any) -> None:
            if self._control is not None:
                for payload in self._control(message):
                    self.connection.publish(message.reply, payload)

        await self.connection.subscribe(f"lb.call.*.*.gfz.{self._module}.*", arrived, queue="lb")
        await self.connection.subscribe(f"lb.ctl.*.*.gfz.{self._module}.{self.instance}.call.*.*", heard)
        await self.connection.flush()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.connection.close()


def result(value: Any, **meta: Any) -> list[bytes]:
    return [pack(Kind.RESULT, 0, meta or None) + b"".join(wire.encode(value))]


def spec(name: str, **methods: dict[str, Any]) -> dict[str, Any]:
    method = {"doc": "", "summary": "", "parameters": [], "returns_doc": "", "raises": [], "streams": False}
    members = [{**method, "name": key, **fields} for key, fields in methods.items()]
    return {"name": name, "doc": "", "summary": "", "version": "", "methods": members, "types": {}}
