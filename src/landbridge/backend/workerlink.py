"""Messages between a backend and its worker processes, over a socket between the two.

A message is a head of fixed size, a small map (msgpack), and a body of bytes. A large body does not go through the
socket: it is written into memory that has no name (a memfd; elsewhere a file that is deleted at once), whose descriptor
goes along, and the other side maps it. So it is copied once, and nothing is left behind whoever is killed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgpack

from ..errors import Malformed

__all__ = ["INLINE_BYTES", "Inbox", "Kind", "Message", "in_memory", "packed", "receive"]

INLINE_BYTES = 256 * 1024
"""Bodies up to this size go through the socket."""

_RECEIVE_BYTES = 64 * 1024
_DESCRIPTORS = 16
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # no program that is started meanwhile is to inherit descriptors
_META_BYTES = 1024 * 1024
_HEAD = struct.Struct("<B?xxIIQ")  # kind, whether the body comes as a descriptor, number of the call, meta, body


class Kind(IntEnum):
    """What a message says."""

    LOAD = 1
    """To the worker: load this module, and be ready."""
    RUN = 2
    """To the worker: run this method; the body holds the arguments."""
    CANCEL = 3
    """To the worker: stop that call."""
    TAKEN = 4
    """To the worker: an item of this size has been sent on."""
    ANSWER = 5
    """To the worker: what a function of the caller has returned, or (`error` in meta) raised."""
    READY = 16
    """From the worker: the module is loaded."""
    UNLOADABLE = 17
    """From the worker: the module cannot be loaded."""
    RECORD = 18
    """From the worker: a line for the log of the backend."""
    PROGRESS = 19
    """From the worker: how far the call is."""
    LOG = 20
    """From the worker: what the method printed or logged."""
    INVOKE = 25
    """From the worker: call a function of the caller; the body holds its arguments."""
    ITEM = 21
    """From the worker: an item of a stream."""
    RESULT = 22
    """From the worker: the value; the call has ended."""
    FINISHED = 23
    """From the worker: the stream has ended."""
    FAILED = 24
    """From the worker: the error; the call has ended."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes
    ----------
    kind : Kind
        What it says.
    number : int
        Which call of this worker it is about.
    meta : dict
        Its small part.
    body : memoryview
        Its large part; writable, so that arrays can be used where they lie.
    """

    kind: Kind
    number: int
    meta: dict[str, Any]
    body: memoryview


def packed(kind: Kind, number: int, meta: Mapping[str, Any], body_bytes: int = 0, *, in_memory: bool = False) -> bytes:
    """Return what precedes the body of a message."""
    small: bytes = msgpack.packb(meta) if meta else b""
    return _HEAD.pack(kind, in_memory, number, len(small), body_bytes) + small


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Return what has arrived, bytes and descriptors, for `Inbox.feed`; no bytes when the other side has gone."""
    data, descriptors, _, _ = socket.recv_fds(connection, _RECEIVE_BYTES, _DESCRIPTORS, _FLAGS)
    return data, descriptors


class Inbox:
    """Puts messages together from what arrives: bytes in any pieces, and descriptors.

    What a process that was killed has sent by half is never a message.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> Iterator[Message]:
        """Take in what has arrived and give the messages that are complete.

        Raises
        ------
        Malformed
            When it cannot be messages; nothing that follows can be read either.
        OSError
            When there is no room to map a body.
        """
        self._descriptors += descriptors
        self._bytes += data
        while len(self._bytes) >= _HEAD.size:
            kind, in_memory, number, meta_bytes, body_bytes = _HEAD.unpack_from(self._bytes)
            inline_bytes = 0 if in_memory else body_bytes
            if meta_bytes > _META_BYTES or inline_bytes > INLINE_BYTES:
                raise Malformed(f"a message between processes announces {meta_bytes} and {body_bytes} bytes")
            start = _HEAD.size + meta_bytes
            if len(self._bytes) < start + inline_bytes:
                return
            try:
                meta = msgpack.unpackb(self._bytes[_HEAD.size : start]) if meta_bytes else {}
                kind = Kind(kind)
            except ValueError as error:
                raise Malformed(f"a message between processes cannot be read: {error!s:.80}") from None
            if not isinstance(meta, dict):
                raise Malformed("a message between processes has no map")
            if in_memory:
                if not self._descriptors:
                    raise Malformed("a message between processes lacks its body")
                body = _mapped(self._descriptors.popleft(), body_bytes)
            else:
                body = memoryview(self._bytes[start : start + inline_bytes])
            del self._bytes[: start + inline_bytes]
            yield Message(kind, number, meta, body)

    def close(self) -> None:
        """Let go of descriptors whose messages never came."""
        while self._descriptors:
            os.close(self._descriptors.popleft())


def in_memory(parts: Sequence[bytes | memoryview]) -> int:
    """Return the descriptor of memory without a name that holds `parts`; whoever asked closes it.

    Raises
    ------
    OSError
        When there is no room.
    """
    descriptor = _unnamed()
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _unnamed() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("landbridge")
    descriptor, path = tempfile.mkstemp(prefix="landbridge-")
    with contextlib.suppress(OSError):
        os.unlink(path)
    return descriptor


def _mapped(descriptor: int, size: int) -> memoryview:
    """Return the memory behind a descriptor, which is closed; the memory is freed with the last view of it."""
    try:
        # Shared, so that it is not copied when it is written to: nobody else has it.
        return memoryview(mmap.mmap(descriptor, size))
    except ValueError as error:
        raise Malformed(f"a body between processes is shorter than announced: {error}") from None
    finally:
        os.close(descriptor)
