"""What a broker sends, read from bytes however the network cuts them: the client's half of the NATS protocol, no I/O.

Source: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

__all__ = ["BadProtocol", "Parser", "Receiver"]

_ROOM_BYTES = 64 * 1024
_KEPT_BYTES = 4 * 1024 * 1024
_LEAST_ROOM_BYTES = 8 * 1024
_LINE_BYTES = 64 * 1024
_LONGEST_BYTES = 64 * 1024 * 1024  # what nats-server allows at most
_MESSAGE = re.compile(rb"MSG[ \t]+([^ \t\r\n]+)[ \t]+([0-9]{1,18})[ \t]+(?:([^ \t\r\n]+)[ \t]+)?([0-9]{1,9})\r\n")
_WITH_HEADERS = re.compile(
    rb"HMSG[ \t]+([^ \t\r\n]+)[ \t]+([0-9]{1,18})[ \t]+(?:([^ \t\r\n]+)[ \t]+)?([0-9]{1,9})[ \t]+([0-9]{1,9})\r\n"
)
_NOBODY = b"NATS/1.0 503"
_CR, _LF = b"\r\n"


class BadProtocol(Exception):
    """What came is not what a broker says; the text shows the beginning of it."""


class Receiver(Protocol):
    """Whoever is told what has come."""

    def message(self, number: int, subject: bytes, reply: bytes, payload: bytes, no_responders: bool) -> None:
        """Take a message for the subscription with this number; headers are left out."""

    def info(self, info: dict[str, Any]) -> None:
        """Take what the broker says of itself."""

    def ping(self) -> None:
        """Take the question whether we are there."""

    def pong(self) -> None:
        """Take the answer to a question of ours."""

    def refused(self, text: str) -> None:
        """Take an error, as the broker words it, without quotes."""


class Parser:
    r"""Reads a stream that is received into a buffer of its own, and tells a receiver what it says.

    The buffer holds what is not yet whole. It grows only as bytes really come, never because some are announced, and
    is given back when a long message has passed.

    Examples
    --------
    >>> class Printer:
    ...     def message(self, number, subject, reply, payload, no_responders):
    ...         print(number, subject, payload)
    >>> parser = Parser(Printer())
    >>> for piece in (b"MSG a.b 7 5\r", b"\nhello\r\n"):
    ...     parser.buffer()[: len(piece)] = piece
    ...     parser.received(len(piece))
    7 b'a.b' b'hello'
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._begin = self._end = 0
        self._needed = 0  # how many bytes there must be before it is worth looking again
        self._in_line = False  # what is unread is the beginning of a line
        self._buffer = bytearray(_ROOM_BYTES)
        self._view = memoryview(self._buffer)

    def _make_room(self, size_bytes: int) -> None:
        """Go on in another buffer, with what is not yet read at its beginning."""
        buffer, unread = bytearray(size_bytes), self.unread
        buffer[:unread] = self._view[self._begin : self._end]
        self._buffer, self._view = buffer, memoryview(buffer)
        self._begin, self._end = 0, unread

    def buffer(self) -> memoryview:
        """Return where to put what comes next; never empty."""
        unread, size = self._end - self._begin, len(self._buffer)
        if not unread:
            self._begin = self._end = 0
            if size > _KEPT_BYTES:
                self._make_room(_ROOM_BYTES)
        elif size - self._end < min(max(self._needed - unread, _LEAST_ROOM_BYTES), size // 2):
            if unread > size // 2:
                self._make_room(2 * size)
            else:
                self._view[:unread] = self._view[self._begin : self._end]
                self._begin, self._end = 0, unread
        return self._view[self._end :]

    @property
    def unread(self) -> int:
        """How many bytes have come that are not yet whole."""
        return self._end - self._begin

    def received(self, count: int) -> None:
        """Read on: `count` bytes are in the buffer that was given last.

        Raises
        ------
        BadProtocol
            When it is nothing that a broker says. What came before it has been told.
        """
        self._end += count
        if self._end - self._begin < self._needed:
            return
        if self._in_line and self._buffer.find(b"\n", self._end - count, self._end) < 0:
            self._check_line()  # looked through once: however small the pieces, a line takes no more time for it
            return
        self._needed, self._in_line = 0, False
        while self._begin < self._end and self._take_one():
            pass

    def _take_one(self) -> bool:
        """Tell the first thing in the buffer, if it is whole."""
        match = _MESSAGE.match(self._buffer, self._begin, self._end)
        if match is not None:
            subject, number, reply, size = match.groups(b"")
            begin = match.end()
        else:
            match = _WITH_HEADERS.match(self._buffer, self._begin, self._end)
            if match is None:
                return self._take_line()
            subject, number, reply, of_headers, size = match.groups(b"")
            begin = match.end() + int(of_headers)
        after = match.end() + int(size)
        if not begin <= after <= match.end() + _LONGEST_BYTES:
            raise self._bad()
        if after + 2 > self._end:
            self._needed = after + 2 - self._begin
            return False
        if self._buffer[after] != _CR or self._buffer[after + 1] != _LF:
            raise BadProtocol("a message is longer or shorter than it says")
        payload = bytes(self._view[begin:after])
        nobody = begin == after and self._buffer.startswith(_NOBODY, match.end(), begin)
        self._begin = after + 2
        self._receiver.message(int(number), subject, reply, payload, nobody)
        return True

    def _take_line(self) -> bool:
        line_end = self._buffer.find(b"\r\n", self._begin, self._end)
        if line_end < 0:
            self._in_line = True
            self._check_line()
            return False
        word, _, rest = bytes(self._view[self._begin : line_end]).partition(b" ")
        told = self._begin
        self._begin = line_end + 2
        if word == b"PING":
            self._receiver.ping()
        elif word == b"PONG":
            self._receiver.pong()
        elif word == b"-ERR":
            text = rest.strip().strip(b"'").decode("utf-8", "replace")
            # A line ends with CR LF, so that LF alone could begin another one where the text is shown.
            self._receiver.refused("".join(each if each.isprintable() else "\ufffd" for each in text))
        elif word == b"INFO" and (info := _object(rest)) is not None:
            self._receiver.info(info)
        elif word != b"+OK":
            self._begin = told
            raise self._bad()
        return True

    def _check_line(self) -> None:
        if self._end - self._begin > _LINE_BYTES:
            raise self._bad()

    def _bad(self) -> BadProtocol:
        return BadProtocol(f"it says {bytes(self._view[self._begin : min(self._end, self._begin + 40)])!r}")


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
