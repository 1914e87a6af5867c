"""A bare client of the broker: it sends what it is told and sees every refusal, which client libraries hide."""

from __future__ import annotations

import base64
import json
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from landbridge.security import Credentials, KeyPair


class Delivered(NamedTuple):
    subject: str
    reply: str
    payload: bytes


class Refused(Exception):
    """The server did not let the client in."""


class RawClient:
    """One blocking connection; `refusals` and `messages` grow until they are taken."""

    def __init__(self, url: str, jwt: str, seed: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self._lines = self._socket.makefile("rb")
        self._subscriptions = 0
        self.refusals: list[str] = []
        self.messages: list[Delivered] = []
        try:
            self._connect(jwt, seed)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, url: str, credentials: Credentials) -> RawClient:
        return cls(url, credentials.jwt, credentials.seed)

    def _connect(self, jwt: str, seed: str) -> None:
        info = json.loads(self._lines.readline().removeprefix(b"INFO "))
        signature = base64.b64encode(KeyPair.from_seed(seed).sign(info["nonce"].encode())).decode()
        options = {"jwt": jwt, "sig": signature, "verbose": False, "pedantic": False, "headers": True}
        options |= {"no_responders": True, "lang": "raw", "version": "0", "protocol": 1}
        self._send(f"CONNECT {json.dumps(options)}\r\n".encode())
        try:
            self.flush()
        except ConnectionError as error:
            raise Refused(" ".join(self.refusals) or str(error)) from None

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def publish(self, subject: str, payload: bytes = b"", reply: str = "") -> None:
        words = " ".join(word for word in ("PUB", subject, reply, str(len(payload))) if word)
        self._send(words.encode() + b"\r\n" + payload + b"\r\n")

    def subscribe(self, subject: str, queue: str = "") -> None:
        self._subscriptions += 1
        self._send(
            (" ".join(word for word in ("SUB", subject, queue, str(self._subscriptions)) if word) + "\r\n").encode()
        )

    def flush(self) -> None:
        """Return when the server has done all that was sent before; what it delivered until then has arrived."""
        self._send(b"PING\r\n")
        while self._read() != b"PONG":
            pass

    def wait_for_message(self) -> Delivered:
        while not self.messages:
            self._read()
        return self.messages.pop(0)

    def _read(self) -> bytes:
        line = self._lines.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        words = line.split()
        if words[0] == b"PING":
            self._send(b"PONG\r\n")
        elif words[0] == b"-ERR":
            self.refusals.append(line[5:].decode().strip())
        elif words[0] in (b"MSG", b"HMSG"):
            has_reply = len(words) == (5 if words[0] == b"MSG" else 6)
            payload = self._lines.read(int(words[-1]) + 2)[:-2]
            if words[0] == b"HMSG":
                payload = payload[int(words[-2]) :]
            self.messages.append(Delivered(words[1].decode(), words[3].decode() if has_reply else "", payload))
        return words[0]

    def refuses_publish(self, subject: str, payload: bytes = b"", reply: str = "") -> bool:
        """Tell whether the server refuses this message for its subject or its reply subject."""
        return self._refuses(lambda: self.publish(subject, payload, reply))

    def refuses_subscribe(self, subject: str, queue: str = "") -> bool:
        return self._refuses(lambda: self.subscribe(subject, queue))

    def _refuses(self, act) -> bool:
        before = len(self.refusals)
        act()
        self.flush()
        return any("permissions violation" in text.lower() for text in self.refusals[before:])

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
