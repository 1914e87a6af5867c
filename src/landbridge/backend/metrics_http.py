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

    Parameters
    ----------
    metrics_text : callable
        Gives the text of ``/metrics``; called in the running loop.
    trouble : callable
        Says in a few words why the backend cannot serve now, for ``/healthz``; empty when all is well.
    listening : socket
        Where programs of this computer ask.
    """
    connected: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(connected) >= _AT_ONCE:
            writer.transport.abort()
            return
        connected.add(task)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, metrics_text, trouble))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks like this gets no answer
        except Exception:
            _log.exception("a question about metrics could not be answered")
        finally:
            writer.transport.abort()
            connected.discard(task)

    server = await asyncio.start_server(accepted, sock=listening, limit=_REQUEST_BYTES)
    try:
        yield
    finally:
        server.close()
        for task in connected:
            task.cancel()
        if connected:
            await asyncio.wait(connected)
        await server.wait_closed()


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
