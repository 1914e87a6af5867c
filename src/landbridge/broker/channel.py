"""One connection to one broker, from dialling until it is lost; whoever wants another opens another.

What is published is written when the turn of the loop ends, or when so much waits that the other side can begin with
it. Nothing is given to asyncio that the system does not take soon: it would be copied, and copied again for each piece
that is taken. The rest waits here, and can be had back when the channel is lost.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ..errors import printable
from .parser import BadProtocol, Parser
from .proxy import connect_through, proxy_for
from .shared_loop import SharedLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tls import Tls

__all__ = ["PORTS", "Channel", "Owner", "Refused"]

PORTS = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}
"""Where a broker listens when its address does not say it, by the scheme of that."""

_USUAL_MAX_PAYLOAD = 1024 * 1024
_PING_INTERVAL_S = 5.0
_PINGS_UNANSWERED = 2
_CLOSE_TIMEOUT_S = 2.0
_WORTH_JOINING_BYTES = 32 * 1024
# So that the other side begins with the first while this one makes the rest: 1.2 times as many calls with 64 at once.
_WRITTEN_AT_ONCE = 32
_ENOUGH_IN_SOCKET_BYTES = 64 * 1024
_JOINED_BYTES = 128 * 1024
_PING, _PONG = b"PING\r\n", b"PONG\r\n"
_MOST_WAITING_FOR_A_PONG = 1000
_TOO_EARLY = "it goes on before it knows who we are"


class Refused(Exception):
    """The broker answered with an error while a channel was being opened; the text is its."""


class Owner(Protocol):
    """Whoever has opened a channel, and is told what comes through it."""

    def message(self, number: int, subject: bytes, reply: bytes, payload: bytes, no_responders: bool) -> None:
        """Take a message for the subscription with this number."""

    def refused(self, channel: Channel, text: str) -> None:
        """Take an error that the broker has told of an open channel."""

    def broken(self, channel: Channel, text: str) -> None:
        """Take note that an open channel ends because what comes is nothing that a broker says."""

    def lost(self, channel: Channel, reason: str) -> None:
        """Take note that an open channel has ended, and not because this side closed it."""


class Channel(asyncio.BufferedProtocol):
    """A channel, made by `open`.

    Attributes
    ----------
    is_lost : bool
        Whether it has ended. What is sent then is kept for whoever asks for it with `unsent`.
    max_payload : int
        Longest message that the broker takes, in bytes.
    server_id : str
        The broker, as it calls itself.
    """

    def __init__(self, owner: Owner) -> None:
        self.is_lost = False
        self._lost_because: BaseException | None = None
        self.max_payload, self.server_id = _USUAL_MAX_PAYLOAD, ""
        self._info: dict[str, Any] = {}
        self._owner = owner
        self._loop = loop = asyncio.get_running_loop()
        self._at_turn_end = loop.at_turn_end if isinstance(loop, SharedLoop) else loop.call_soon
        self._parser = Parser(_Greeting(self))
        self._transport: asyncio.Transport
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._is_open = self._was_open = False
        self._pongs: deque[asyncio.Future[None] | None] = deque()
        self._unanswered = 0
        self._keep_alive: asyncio.TimerHandle | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._write_scheduled = self._is_full = self._holds_back = False
        self._drained: asyncio.Future[None] | None = None
        self._descriptor = -1

    @classmethod
    async def open(
        cls, owner: Owner, url: str, connect: Callable[[dict[str, Any]], dict[str, Any]], tls: Tls
    ) -> Channel:
        """Dial `url`, and return the channel once the broker has let us in.

        Parameters
        ----------
        owner : Owner
            Is told what comes, from the moment that the broker is greeted.
        url : str
            ``nats://HOST:PORT``, or with ``tls``, ``ws`` or ``wss`` in place of ``nats``. What is encrypted from the
            address on (``tls``, ``wss``) goes through the proxy that the environment names.
        connect : callable
            Gives what to say of ourselves, when it is given what the broker says of itself.
        tls : Tls
            Whom to trust where the connection is encrypted, and what to show there.

        Raises
        ------
        Refused
            When the broker answers with an error.
        OSError
            When nobody can be reached, or what is there is no broker.
        MissingExtra
            When the address is that of a websocket, and the package for it is not installed.
        NotConfigured
            When a file that `tls` names cannot be used, or the proxy's address.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise OSError("the address must look like nats://HOST:PORT (or tls, ws, wss)")
        channel = cls(owner)
        protocol: asyncio.BaseProtocol = channel
        is_websocket = parts.scheme in ("ws", "wss")
        if is_websocket:
            from .websocket import Websocket

            protocol = Websocket(channel, url)
        secure = tls.context() if parts.scheme == "wss" else None
        where = parts.hostname, parts.port or PORTS[parts.scheme]
        tunnel = await _tunnel(parts.scheme, *where, tls)
        if tunnel is None:
            await channel._loop.create_connection(lambda: protocol, *where, ssl=secure)
        else:
            name = parts.hostname if secure else None
            await channel._loop.create_connection(lambda: protocol, sock=tunnel, ssl=secure, server_hostname=name)
        try:
            await channel._greeted
            if not is_websocket and (parts.scheme == "tls" or channel._info.get("tls_required")):
                await channel._encrypt(tls, parts.hostname)
            channel._check_that_all_is_well()
            channel._parser = Parser(channel)
            said = json.dumps(connect(channel._info), separators=(",", ":")).encode()
            answered = channel._expect_pong()
            # As one: a PING that came after the broker has closed would be answered by a reset, and why it has closed
            # be lost.
            channel._transport.write(b"CONNECT " + said + b"\r\n" + _PING)
            await answered
        except BaseException as error:
            channel.end(error)
            raise
        channel._is_open = channel._was_open = True
        channel._keep_alive = channel._loop.call_later(_PING_INTERVAL_S, channel._watch)
        return channel

    async def _encrypt(self, tls: Tls, host: str) -> None:
        if not (self._info.get("tls_required") or self._info.get("tls_available")):
            raise OSError("the broker offers no TLS, which a tls:// address demands")
        context = tls.context()
        self._check_that_all_is_well()  # or what came in the clear would be taken for what the broker says within TLS
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise ConnectionResetError("the broker has hung up")
        self.connection_made(transport)

    def _check_that_all_is_well(self) -> None:
        if self._lost_because is not None:
            raise self._lost_because
        if self._parser.unread:
            raise OSError(_TOO_EARLY)

    # Sending

    def send(self, command: bytes) -> None:
        """Queue a command; it is written by the end of this turn of the loop, or as soon as the system takes it."""
        self._waiting.append(command)
        self._waiting_bytes += len(command)
        if not self._write_scheduled:
            self._write_scheduled = True
            self._at_turn_end(self._write_at_last)
        elif len(self._waiting) == _WRITTEN_AT_ONCE:
            self._write()

    @property
    def waiting_bytes(self) -> int:
        """How much was sent that the system has not yet been given."""
        return self._waiting_bytes

    def unsent(self) -> list[bytes]:
        """Return the messages that the system was not given, in their order; they are no longer kept here."""
        unsent, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return [command for command in unsent if command.startswith(b"PUB ")]

    async def writable(self) -> None:
        """Wait until everything that was sent has gone to the operating system, or the channel is lost."""
        self._write()
        while (self._waiting or self._is_full) and not self.is_lost:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def _write_at_last(self) -> None:
        self._write_scheduled = False
        self._write()

    def _write(self) -> None:
        waiting = self._waiting
        while waiting and self._takes_more():
            if len(waiting) == 1 or len(waiting[0]) >= _WORTH_JOINING_BYTES:
                count, written = 1, waiting[0]
            elif self._waiting_bytes <= _JOINED_BYTES:
                count, written = len(waiting), b"".join(waiting)
            else:
                count = _fitting(waiting)
                written = b"".join(waiting[:count])
            self._transport.write(written)
            del waiting[:count]
            self._waiting_bytes -= len(written)
        if not waiting and not self._is_full:
            self._tell_drained()

    def _takes_more(self) -> bool:
        # While asyncio closes it has not yet told us; what it is given then is lost, and kept here it is not.
        return not (self._is_full or self._holds_back or self.is_lost or self._transport.is_closing())

    def pause_writing(self) -> None:
        """Take note that asyncio holds enough that the system has not taken."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on: the system takes what it is given, so somebody reads at the other end."""
        self._is_full = False
        self._unanswered = 0
        self._write()

    def _tell_drained(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    async def round_trip(self) -> float:
        """Return the time to the broker and back, in seconds, once everything that was sent before has been written.

        Raises
        ------
        ConnectionError
            When the channel is lost meanwhile.
        """
        await self.writable()
        start = self._loop.time()
        answered = self._expect_pong()
        self.send(_PING)
        if self._lost_because is None:
            await answered
        took_s = self._loop.time() - start
        if self._lost_because is not None:  # perhaps right after the answer
            raise self._lost_because
        return took_s

    async def settle(self) -> None:
        """Wait as in `round_trip`, and hold back what is sent from now on: `unsent` will give it."""
        await self.writable()
        answered = self._expect_pong()
        self.send(_PING)
        self._write()
        self._holds_back = True
        await answered

    def _expect_pong(self) -> asyncio.Future[None]:
        answered: asyncio.Future[None] = self._loop.create_future()
        self._pongs.append(answered)
        return answered

    def _watch(self) -> None:
        """Ask whether the broker is there, again and again; one that no longer answers is lost."""
        if self._unanswered >= _PINGS_UNANSWERED:
            self._lose(ConnectionResetError("the broker no longer answers"))
            return
        self._unanswered += 1
        self._pongs.append(None)
        self.send(_PING)
        self._keep_alive = self._loop.call_later(_PING_INTERVAL_S, self._watch)

    # The end

    def end(self, reason: BaseException) -> None:
        """Close it at once, and tell `reason` to whoever waits for it, but not to its owner."""
        self._is_open = False
        self._lose(reason)

    def drop(self, reason: str) -> None:
        """Close it at once, as if it were lost."""
        self._lose(ConnectionResetError(reason))

    def _lose(self, reason: BaseException, *, politely: bool = False) -> None:
        if self.is_lost:
            return
        self.is_lost, self._lost_because = True, reason
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        for waiting in (self._greeted, *self._pongs):
            if waiting is not None and not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # nobody needs to ask
        self._tell_drained()
        # What asyncio still holds is let go, too: a broker that is frozen would never take it.
        end = self._transport.close if politely else self._transport.abort
        end()
        if self._descriptor >= 0 and not politely:
            # Whoever waits for more to read would keep the line open otherwise, and the broker go on sending into it.
            with suppress(OSError):
                self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        if self._is_open:
            self._owner.lost(self, str(reason))

    async def close(self) -> None:
        """Close it once everything that was sent has left, but wait for a broker that does not read only so long."""
        self._is_open = self._holds_back = False
        ended = ConnectionResetError("the connection is closed")
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self.writable()
                self._lose(ended, politely=True)
                await asyncio.shield(self._closed)
        except TimeoutError:
            self._lose(ended)
            self._transport.abort()
            await self._closed

    # Receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take what to write to; called by asyncio."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - that it is one tells the type checker
        self._transport = transport
        transport.set_write_buffer_limits(_ENOUGH_IN_SOCKET_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to put what comes; called by asyncio."""
        return self._parser.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Read what has come; called by asyncio."""
        if self.is_lost:
            return
        self._unanswered = 0  # whoever sends is there, even if his answer is behind much else
        try:
            self._parser.received(nbytes)
        except BadProtocol as error:
            text = f"it is no broker, or its messages were damaged: {error}"
            if self._is_open:
                self._owner.broken(self, text)
            self.drop(text)

    def let_others_read(self) -> int | None:
        """Leave reading to whoever calls `read_now` when something has come to the descriptor; None if nobody can."""
        plain = self._transport.get_extra_info("socket")
        encrypted = self._transport.get_extra_info("sslcontext") is not None
        if plain is None or encrypted or self.is_lost or self._transport.get_protocol() is not self:
            return None
        self._transport.pause_reading()
        self._descriptor = int(plain.fileno())
        return self._descriptor

    def read_again(self) -> None:
        """Read as before `let_others_read`."""
        if not self.is_lost:
            self._transport.resume_reading()

    def read_now(self) -> None:
        """Read what has come, in place of asyncio."""
        try:
            count = os.readv(self._descriptor, [self._parser.buffer()])
        except BlockingIOError:
            return
        except OSError as error:
            self.drop(str(error))
            return
        if count:
            self.buffer_updated(count)
        else:
            self.eof_received()

    def eof_received(self) -> None:
        """Take note that the broker has hung up; called by asyncio, which closes the transport after this."""
        self.drop("the broker has hung up")

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone; called by asyncio."""
        if not self._closed.done():
            self._closed.set_result(None)
        reason = ConnectionResetError(str(exc) if exc is not None else "the broker has hung up")
        reason.__cause__ = exc  # of refused certificates only this tells more than a word
        self._lose(reason)

    def message(self, number: int, subject: bytes, reply: bytes, payload: bytes, no_responders: bool) -> None:
        """Hand on a message."""
        if not self.is_lost:
            self._owner.message(number, subject, reply, payload, no_responders)

    def info(self, info: dict[str, Any]) -> None:
        """Note what the broker says of itself: at first, and again with what our credentials allow."""
        if self.is_lost:
            return
        limit, name = info.get("max_payload"), info.get("server_id")
        if type(limit) is int and limit > 0:
            self.max_payload = limit
        if isinstance(name, str):
            self.server_id = printable(name, 100)
        if not self._greeted.done():
            self._info = info
            self._greeted.set_result(None)

    def ping(self) -> None:
        """Answer; but whoever asks without reading the answers does not fill our memory with them."""
        if not self.is_lost and len(self._waiting) < _MOST_WAITING_FOR_A_PONG:
            self.send(_PONG)

    def pong(self) -> None:
        """Tell whoever asked first; one that nobody waits for changes nothing."""
        if self._pongs and not self.is_lost:
            answered = self._pongs.popleft()
            if answered is not None and not answered.done():
                answered.set_result(None)

    def refused(self, text: str) -> None:
        """Hand on an error; before the channel is open it ends it."""
        if self.is_lost:
            return
        if self._is_open:
            self._owner.refused(self, text)
        else:
            self._lose(ConnectionResetError(text) if self._was_open else Refused(text))


def _fitting(commands: list[bytes]) -> int:
    """Return how many of the first commands to join: some 100 KB, and none that is worth writing on its own."""
    size = 0
    for count, command in enumerate(commands):
        size += len(command)
        if count and (size > _JOINED_BYTES or len(command) >= _WORTH_JOINING_BYTES):
            return count
    return len(commands)


async def _tunnel(scheme: str, host: str, port: int, tls: Tls) -> socket.socket | None:
    proxy = proxy_for(scheme, host, port, tls)
    return None if proxy is None else await connect_through(proxy)


class _Greeting:
    """Receives what a broker says before it has heard of us: what it says of itself, once, and nothing else."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._has_come = False

    def info(self, info: dict[str, Any]) -> None:
        if self._has_come:
            raise BadProtocol(_TOO_EARLY)
        self._has_come = True
        self._channel.info(info)

    def refused(self, text: str) -> None:
        self._channel.refused(text)

    def message(self, number: int, subject: bytes, reply: bytes, payload: bytes, no_responders: bool) -> None:
        raise BadProtocol(_TOO_EARLY)

    def ping(self) -> None:
        raise BadProtocol(_TOO_EARLY)

    def pong(self) -> None:
        raise BadProtocol(_TOO_EARLY)
