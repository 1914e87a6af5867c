"""The same bytes through a websocket: for networks that let nothing else out, as what web pages use goes through.

Source: RFC 6455; https://docs.nats.io/running-a-nats-service/configuration/websocket. The frames are the work of the
package websockets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import MissingExtra

if TYPE_CHECKING:
    from .channel import Channel

__all__ = ["Websocket"]

_LONGEST_FRAME_BYTES = 64 * 1024 * 1024
_MOST_UNREAD_BYTES = 16 * 1024 * 1024


class Websocket(asyncio.Transport, asyncio.Protocol):
    """Stands between a channel and its socket: a transport to the one, a protocol to the other.

    Raises
    ------
    MissingExtra
        When the package websockets is not installed.
    """

    def __init__(self, channel: Channel, url: str) -> None:
        super().__init__()
        try:
            from websockets.client import ClientProtocol
            from websockets.frames import Frame, Opcode
            from websockets.protocol import State
            from websockets.uri import parse_uri
        except ImportError:
            raise MissingExtra("A broker at a ws:// or wss:// address", "ws") from None
        self._frames = ClientProtocol(parse_uri(url), max_size=_LONGEST_FRAME_BYTES)
        self._frame, self._content = Frame, (Opcode.BINARY, Opcode.TEXT, Opcode.CONT)
        self._open = State.OPEN
        self._channel = channel
        self._transport: asyncio.Transport

    # To the socket, a protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade; called by asyncio."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - that it is one tells the type checker
        self._transport = transport
        self._channel.connection_made(self)
        self._frames.send_request(self._frames.connect())
        self._write_frames()

    def data_received(self, data: bytes) -> None:
        """Give the channel what is in the frames; called by asyncio."""
        self._frames.receive_data(data)
        self._write_frames()
        for event in self._frames.events_received():
            if isinstance(event, self._frame) and event.opcode in self._content:
                left = memoryview(event.data)
                while left:
                    room = self._channel.get_buffer(len(left))
                    count = min(len(room), len(left))
                    room[:count] = left[:count]
                    self._channel.buffer_updated(count)
                    left = left[count:]
        if self._frames.handshake_exc is not None:
            clear = self._transport.get_extra_info("sslcontext") is None
            hint = " (if it is encrypted, its address begins with wss://)" if clear else ""
            self._channel.drop(f"no websocket: {self._frames.handshake_exc}{hint}")
        elif self._transport.get_write_buffer_size() > _MOST_UNREAD_BYTES:
            self._channel.drop("the broker asks whether we are there, and reads no answer")
        elif self._frames.close_expected():
            self._channel.drop("the broker has closed the websocket")

    def eof_received(self) -> None:
        """Close: the broker has hung up; called by asyncio."""
        self._frames.receive_eof()
        self._channel.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the channel; called by asyncio."""
        self._channel.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the channel; called by asyncio."""
        self._channel.pause_writing()

    def resume_writing(self) -> None:
        """Tell the channel; called by asyncio."""
        self._channel.resume_writing()

    # To the channel, a transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes as one frame."""
        self._frames.send_binary(bytes(data))
        self._write_frames()

    def close(self) -> None:
        """Say goodbye, and close once all is sent."""
        if self._frames.state is self._open:
            self._frames.send_close(1000)
            self._write_frames()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or will be."""
        return self._frames.state is not self._open or self._transport.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say how much may wait in memory."""
        self._transport.set_write_buffer_limits(high, low)

    def _write_frames(self) -> None:
        self._transport.write(b"".join(self._frames.data_to_send()))
