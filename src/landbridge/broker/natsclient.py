"""The client of nats-py with its traps closed and its two hot paths cut short.

It overrides private methods, so `connection` is its only user, the tests run it against a real server and a hostile
one, and an upgrade of nats-py must pass them. What is changed, and why:

===========================  ==========================================================================================
delivery                     a message goes to a plain function, not through a queue, a task and a coroutine each
long messages                are put together once; each byte was copied six times (see `reading`)
publishing                   a plain function that writes when a turn ends or 32 wait, not a queue and a task
short messages               are cut out of what came, not found in a buffer (see `reading`)
text that is not ASCII       a stranger's reply subject of other bytes would end the reader; the message is dropped
PONG that comes late         ``connect`` returned without being connected and never became so; now it does
PONG nobody waits for        after a flush that timed out, its PONG would end the reader
refusal at CONNECT           could be lost in a reset of the connection; now it is read
any ``-ERR``                 closed the client for good; now only what concerns the credentials does
errors in a background task  ended reading or reconnecting without a word; now the connection is made anew or closed
``tls://``                   was a wish, a server that offered no TLS was given the credentials; now it is refused
===========================  ==========================================================================================
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from nats import errors as nats_errors
from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport

from .events import denied_by, refuses_credentials
from .reading import ChunkReader, QuickParser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .events import Denied

__all__ = ["Listener", "NatsClient"]

_log = logging.getLogger(__name__)
_RECENT_SUBJECTS = 4096
_CLOSE_TIMEOUT_S = 1.0
_WORTH_JOINING_BYTES = 32 * 1024
# So that the other side begins with the first while this one makes the rest: 1.2 times as many calls with 64 at once.
_WRITTEN_AT_ONCE = 32
_ENOUGH_IN_SOCKET_BYTES = 64 * 1024
# A server that answers each reconnect with an error again would be asked for ever.
_MAX_ERRORS = 5
_ERRORS_WITHIN_S = 30.0


class Listener(Protocol):
    """Whoever owns the client: is told what it cannot decide by itself."""

    def denied(self, refusal: Denied) -> None:
        """Take note of a refused publish or subscription."""

    def new_credentials(self) -> bool:
        """Return whether there are other credentials than those the broker has just refused."""

    def failed(self, reason: str) -> None:
        """Take note that the client gives up."""

    def check_address(self, url: str) -> None:
        """Raise when nobody is to be dialled at `url` now."""


class _Transport(TcpTransport):
    """Sends CONNECT and the PING after it as one.

    A broker that refuses the credentials says so and closes. A PING that came after that would be answered by a reset,
    and the reason would be lost.
    """

    _io_writer: Any
    _held = b""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __bool__(self) -> bool:
        return True  # else nats-py takes one that is not yet connected for none, and makes its own

    def write(self, payload: bytes) -> None:
        if payload.startswith(b"CONNECT "):
            self._held = payload
        else:
            self._io_writer.write(self._held + payload if self._held else payload)
            self._held = b""

    def close(self) -> None:
        self._held = b""
        super().close()  # type: ignore[no-untyped-call]

    def waiting_bytes(self) -> int:
        """Return how much the operating system has not yet taken."""
        return int(self._io_writer.transport.get_write_buffer_size())

    async def connect(self, uri: Any, buffer_size: int, connect_timeout: int) -> None:
        loop = asyncio.get_running_loop()
        reader = ChunkReader(buffer_size, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        opening = loop.create_connection(lambda: protocol, uri.hostname, uri.port)
        transport, _ = await asyncio.wait_for(opening, connect_timeout)
        self._bare_io_reader = self._io_reader = reader
        self._bare_io_writer = self._io_writer = asyncio.StreamWriter(transport, protocol, reader, loop)

    def hand_on(self) -> None:
        """Give out what the socket gives as it is: the handshake, which reads lines, is over."""
        if isinstance(self._io_reader, ChunkReader):
            self._io_reader.hand_on()

    async def wait_closed(self) -> None:
        # What is still to be sent is waited for; from a broker that does not read, for ever.
        closed = asyncio.ensure_future(self._closed())
        done, _ = await asyncio.wait({closed}, timeout=_CLOSE_TIMEOUT_S)
        if not done:
            self._io_writer.transport.abort()
            await closed

    async def _closed(self) -> None:
        with suppress(OSError):
            await super().wait_closed()  # type: ignore[no-untyped-call]


class NatsClient(Client):
    """One connection of nats-py. Everything runs in the loop that `connect` was called in."""

    _transport: Any  # nats-py says that it may be None, as it is before `connect`

    def __init__(self, listener: Listener, make_message: Callable[[str, str, bytes, bool], Any]) -> None:
        super().__init__()
        self.callbacks: dict[int, Callable[[Any], None]] = {}
        self.connected = asyncio.Event()
        self.lost_because = ""
        self._round_trips: set[asyncio.Future[bool]] = set()
        self._listener = listener
        self._make_message = make_message
        self._recent: deque[str] = deque(maxlen=_RECENT_SUBJECTS)
        self._write_scheduled = False
        self._writer: asyncio.Task[None] | None = None
        self._error_times: deque[float] = deque(maxlen=_MAX_ERRORS)
        self._ps = QuickParser(self)

    # Hot paths

    def send(self, subject: str, reply: str, parts: Sequence[bytes | memoryview], size_bytes: int) -> None:
        """Queue a message; it is written by the end of this turn of the loop. Subjects must have been checked."""
        self._recent.append(subject)
        # Joined once: formatting 512 KB into bytes takes 20 times as long.
        self._queue(b"".join((f"PUB {subject} {reply} {size_bytes}\r\n".encode(), *parts, b"\r\n")))

    def _queue(self, command: bytes) -> None:
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._write_scheduled:
            self._write_scheduled = True
            asyncio.get_running_loop().call_soon(self.write_queued)
        elif len(self._pending) == _WRITTEN_AT_ONCE:
            self.write_queued()
            self._write_scheduled = True  # the call that was scheduled is still to come

    def write_queued(self) -> None:
        """Hand what is queued to the socket, if there is one that takes it; the rest follows by itself."""
        self._write_scheduled = False
        if not self._pending or self._status != Client.CONNECTED:
            return
        if self._pending_data_size < len(self._pending) * _WORTH_JOINING_BYTES and not self._is_socket_full():
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
            return
        written = 0
        for command in self._pending:
            # asyncio copies what the socket does not take, and copies the rest again for each piece it takes of it.
            if self._is_socket_full():
                break
            self._transport.write(command)
            self._pending_data_size -= len(command)
            written += 1
        del self._pending[:written]
        if not self._pending:
            self._pending_data_size = 0  # nats-py counts its PINGs in, which are never queued
        else:
            self._write_scheduled = True
            self._writer = asyncio.get_running_loop().create_task(self._write_later())

    async def _write_later(self) -> None:
        with suppress(OSError):  # lost meanwhile; the rest is sent over the next connection
            await self._transport.drain()
        self.write_queued()

    def _is_socket_full(self) -> bool:
        return type(self._transport) is _Transport and self._transport.waiting_bytes() > _ENOUGH_IN_SOCKET_BYTES

    async def write_all(self) -> None:
        """Wait until nothing is queued, or the connection is lost."""
        self.write_queued()
        with suppress(OSError):
            while self._pending and self._status == Client.CONNECTED:
                await self._transport.drain()
                self.write_queued()
            await self._transport.drain()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        nobody = headers is not None and not data and headers.startswith(b"NATS/1.0 503")
        self.deliver(sid, subject, reply, data, nobody)

    def deliver(self, number: int, subject: bytes, reply: bytes, payload: bytes, no_responders: bool = False) -> None:
        """Give a message to whoever subscribed to it under this number."""
        callback = self.callbacks.get(number)
        if callback is None:
            return
        try:
            message = self._make_message(subject.decode("ascii"), reply.decode("ascii"), payload, no_responders)
        except UnicodeDecodeError:  # the broker passes on any bytes for a subject; none of ours have such
            return
        try:
            callback(message)
        except Exception:
            _log.exception("a subscription's callback failed")

    # Subscriptions: plain functions, kept by number so that nats-py repeats them after a reconnect

    async def listen(self, subject: str, queue: str, callback: Callable[[Any], None]) -> int:
        """Subscribe, and return the number of the subscription."""
        number = self._sid + 1  # as `subscribe` will choose it, so that no message comes before the callback is known
        self.callbacks[number] = callback
        try:
            await self.subscribe(subject, queue)
        except BaseException:
            self.callbacks.pop(number, None)
            raise
        return number

    def unlisten(self, number: int) -> None:
        """End a subscription; no message of it is delivered after this."""
        if self.callbacks.pop(number, None) is not None:
            self.stop_asking(number)

    def stop_asking(self, number: int) -> None:
        """Tell the broker to send no more; what it has sent already is still delivered."""
        self._remove_sub(number)
        if self.is_connected:  # else it is simply not repeated at the next one
            self._queue(b"UNSUB %d\r\n" % number)

    async def round_trip(self) -> float:
        """Return the time to the broker and back, in seconds, once everything queued has been written.

        Raises
        ------
        ConnectionError
            When the connection is lost meanwhile; the PONG of the next one would say nothing of what was sent before.
        """
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        self._round_trips.add(answered)
        try:
            await self.write_all()  # a PING overtakes what is queued
            start = loop.time()
            await self._send_ping(answered)
            await answered
            return loop.time() - start
        finally:
            self._round_trips.discard(answered)

    # Traps

    def lose(self, reason: str) -> None:
        """Take note that the connection is lost, for whatever reason."""
        self.connected.clear()
        self.lost_because = reason
        for waiting in self._round_trips:
            if not waiting.done():
                waiting.set_exception(ConnectionResetError(reason))

    async def _process_pong(self) -> None:
        if self._pongs:
            answered = self._pongs.pop(0)
            self._pongs_received += 1
            self._pings_outstanding = 0
            if not answered.done():
                answered.set_result(True)
        elif self._status == Client.CONNECTING:
            # The answer to the PING of CONNECT, behind something else that nats-py took for it. Its flusher has ended
            # for want of a connection.
            self._status = Client.CONNECTED
            self._flusher_task = asyncio.get_running_loop().create_task(self._flusher())
            self.connected.set()

    async def _process_err(self, err_msg: str) -> None:
        refusal = denied_by(err_msg, self._used_subjects())
        if refusal is not None:
            self._listener.denied(refusal)
        elif refuses_credentials(err_msg):
            self._err = nats_errors.Error(err_msg)
            if self._listener.new_credentials():
                await self._process_op_err(self._err)
            else:
                self._listener.failed(err_msg)
        else:
            await self._start_anew(err_msg)

    def _used_subjects(self) -> list[str]:
        return [*reversed(self._recent), *(sub.subject for sub in self._subs.values())]

    async def _start_anew(self, reason: str) -> None:
        now = time.monotonic()
        often = len(self._error_times) == _MAX_ERRORS and now - self._error_times[0] < _ERRORS_WITHIN_S
        self._error_times.append(now)
        self._err = nats_errors.Error(reason)
        if often:
            self._listener.failed(reason)
        else:
            _log.warning("the broker or its connection failed, connecting anew: %s", reason)
            await self._process_op_err(self._err)

    async def _process_op_err(self, e: Exception) -> None:
        if not (self.is_closed or self.is_reconnecting):
            self.lose(str(e))
        await super()._process_op_err(e)

    async def force_reconnect(self) -> None:
        """Connect anew, with the credentials of now; what is queued is kept."""
        if self._status == Client.CONNECTED:
            self.write_queued()
            self.lose("connecting anew with other credentials")
            await super().force_reconnect()

    async def _read_loop(self) -> None:
        if type(self._transport) is _Transport:
            self._transport.hand_on()
        await super()._read_loop()
        # It returns when the connection is lost, which others noticed then, and on any error it does not know.
        task = asyncio.current_task()
        if task is None or task.cancelling():  # the loop is ending
            return
        if self._reading_task is task and self._status in (Client.CONNECTED, Client.CONNECTING):
            await self._start_anew("its messages could not be read")

    async def _attempt_reconnect(self) -> None:
        while True:
            try:
                await super()._attempt_reconnect()
            except Exception as error:
                _log.warning("could not connect anew, trying again: %s", error)
                self._status = Client.RECONNECTING
                await asyncio.sleep(self.options["reconnect_time_wait"])
            else:
                if self._status == Client.CONNECTED:
                    self.connected.set()
                return

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport is None and s.uri.scheme in ("nats", "tls"):
            self._transport = _Transport()
        elif isinstance(self._transport, _Transport):
            self._transport.close()  # an attempt that failed half-way left its socket
            await self._transport.wait_closed()
        self._listener.check_address(s.uri.geturl())
        await super()._connect_to_server(s)

    async def _process_connect_init(self) -> None:
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None and not task.done() and task is not asyncio.current_task():
                task.cancel()  # of an attempt that failed half-way: its reader would mix into this one's bytes
        await super()._process_connect_init()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        server = self._current_server
        if initial_connection and server is not None and server.uri.scheme == "tls" and not info.get("tls_required"):
            raise nats_errors.Error("nats: the broker offers no TLS, which a tls:// address demands")
        await super()._process_info(info, initial_connection)
        # The second INFO, after CONNECT, has what this credential may send; beyond it the server cuts the connection.
        limit = info.get("max_payload")
        if isinstance(limit, int) and limit > 0:
            self._max_payload = limit
