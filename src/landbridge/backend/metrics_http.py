"""The page that a monitoring system reads: ``GET /metrics`` and ``GET /healthz``, on this computer only.

So much of HTTP as a scraper needs, and no more: one request for each connection, bounded in size, time and number.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from .metrics import CONTENT_TYPE

__all__ = ["serve_metrics"]

_log = logging.getLogger(__name__)
_REQUEST_BYTES = 8192
_TIMEOUT_S = 5.0
_LEAVING_S = 1.0
_PAUSE_S = 1.0
_AT_ONCE = 32
_TEXT = "text/plain; charset=utf-8"
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]\r\n")
# A page on the web can have a browser of this computer ask, under a name of its own that points here.
_HOST = re.compile(rb"\r\nhost:[ \t]*(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?[ \t]*\r\n", re.IGNORECASE)
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}
_REASONS[503] = "Service Unavailable"


@asynccontextmanager
async def serve_metrics(
    metrics_text: Callable[[], str], trouble: Callable[[], str], listening: socket.socket
) -> AsyncIterator[None]:
    """Answer at a socket that listens on the loopback address, while the context is open; then close it.

    Whoever has been accepted by then is still answered; whoever waits at the socket is left to another that holds it.

    Parameters
    ----------
    metrics_text : callable
        Gives the text of ``/metrics``; called in the running loop.
    trouble : callable
        Says in a few words why the backend cannot serve now, for ``/healthz``; empty when all is well.
    listening : socket
        Where programs of this computer ask.
    """
    loop = asyncio.get_running_loop()
    connected: set[asyncio.Task[None]] = set()

    # Not a server of asyncio's: that one forgets whom it has accepted but not yet told us of, and they would be cut off
    # without an answer where one backend follows another at the same socket.
    def accept() -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left, say
            _log.warning("whoever asks for metrics has to wait: %s", error)
            loop.remove_reader(listening)
            waiting.append(loop.call_later(_PAUSE_S, begin))
            return
        if len(connected) >= _AT_ONCE:
            connection.close()
            return
        task = loop.create_task(_answer(connection, metrics_text, trouble))
        connected.add(task)
        task.add_done_callback(connected.discard)

    def begin() -> None:
        waiting.clear()
        loop.add_reader(listening, accept)

    waiting: list[asyncio.TimerHandle] = []
    listening.setblocking(False)
    begin()
    try:
        yield
    finally:
        for handle in waiting:
            handle.cancel()
        loop.remove_reader(listening)
        listening.close()
        if connected:
            _, late = await asyncio.wait(connected, timeout=_LEAVING_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)


async def _answer(connection: socket.socket, metrics_text: Callable[[], str], trouble: Callable[[], str]) -> None:
    """Answer the one request of a connection, and close it."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(sock=connection, limit=_REQUEST_BYTES)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, metrics_text, trouble))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            finally:
                writer.transport.abort()
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # whoever asks like this gets no answer
    except Exception:
        _log.exception("a question about metrics could not be answered")
    finally:
        connection.close()


def _response(head: bytes, metrics_text: Callable[[], str], trouble: Callable[[], str]) -> bytes:
    """Return the answer to a request, of which `head` is everything up to the empty line."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        return _page(400, "This is no request that is understood here.\n")
    if _HOST.search(head) is None:
        return _page(403, "Ask under the name of this computer itself: http://localhost or http://127.0.0.1.\n")
    method, path = line[1], line[2].partition(b"?")[0]
    if path not in (b"/metrics", b"/healthz"):
        return _page(404, "There are /metrics and /healthz.\n")
    if method != b"GET":
        return _page(405, "Only GET is understood here.\n", "Allow: GET\r\n")
    if path == b"/metrics":
        return _page(200, metrics_text(), kind=CONTENT_TYPE)
    reason = trouble()
    return _page(503, f"{reason}\n") if reason else _page(200, "ok\n")


def _page(status: int, text: str, further: str = "", kind: str = _TEXT) -> bytes:
    body = text.encode(errors="replace")
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{further}Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
