"""A real HTTP proxy that knows CONNECT, in threads of this process: counts what goes through it, and may refuse it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

_KEPT_BYTES = 1024 * 1024


class ConnectProxy:
    """A proxy on a free port of this computer.

    Parameters
    ----------
    places : dict of str to str
        Where ``host:port`` really is, as an address; whatever else is asked for cannot be reached.
    login : str
        What it demands in Proxy-Authorization, if not empty.
    answer : bytes, optional
        What it answers, whatever it is asked, before it hangs up.

    Attributes
    ----------
    asked : list of str
        The request line of each connection that came.
    carried_bytes : int
        How much went through to the brokers and back.
    heard : bytes
        The beginning of what clients sent through it.
    """

    def __init__(self, places: dict[str, str], login: str = "", answer: bytes | None = None) -> None:
        self._places, self._login, self._answer = places, login, answer
        self.asked: list[str] = []
        self.carried_bytes = 0
        self.heard = b""
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._begin(self._accept)

    def _begin(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _keep(self, stream: socket.socket) -> None:
        with self._lock:
            self._sockets.append(stream)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                self._keep(stream)
                self._begin(self._serve, stream)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            header = b""
            while not header.endswith(b"\r\n\r\n"):
                byte = client.recv(1)
                if not byte:
                    return
                header += byte
            lines = header.decode("ascii").split("\r\n")
            self.asked.append(lines[0])
            if self._answer is not None:
                client.sendall(self._answer)
                return
            if self._login and f"Proxy-Authorization: {self._login}" not in lines:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
                return
            place = self._places.get(lines[0].split(" ")[1])
            if place is None:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello")
                return
            where = urlsplit(place)
            with socket.create_connection((where.hostname, where.port)) as broker:
                self._keep(broker)
                client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                self._begin(self._pump, broker, client, False)
                self._pump(client, broker, True)

    def _pump(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(256 * 1024):
                with self._lock:
                    self.carried_bytes += len(part)
                    if is_client and len(self.heard) < _KEPT_BYTES:
                        self.heard += part
                target.sendall(part)
        for stream in (source, target):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        with self._lock:
            sockets = [self._listener, *self._sockets]
        for stream in sockets:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()
        for thread in self._threads:
            thread.join(10)


@contextlib.contextmanager
def connect_proxy(places: dict[str, str] | None = None, **options) -> Iterator[ConnectProxy]:
    """Give a proxy that ends with the context."""
    proxy = ConnectProxy(places or {}, **options)
    try:
        yield proxy
    finally:
        proxy.close()
