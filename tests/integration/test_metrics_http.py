"""The page for monitoring systems, over real sockets: what it answers, and whom it does not wait for."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from landbridge.backend import metrics_http
from landbridge.backend.metrics_http import serve_metrics


def listen():
    """Return a socket that listens, and the address of the page there."""
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"


async def served(test, text=lambda: "a 1\n", trouble=lambda: ""):
    """Run `test`, a plain function of the address, in a thread while the page is served."""
    listening, url = listen()
    async with serve_metrics(text, trouble, listening):
        return await asyncio.to_thread(test, url)


def fetch(url, **options):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@contextmanager
def raw(url):
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        yield connection


def said(connection):
    """Return everything until the other side has gone."""
    seen = b""
    try:
        while chunk := connection.recv(65536):
            seen += chunk
    except ConnectionResetError:
        pass
    return seen


def test_metrics_are_shown():
    status, headers, body = asyncio.run(served(fetch))
    assert (status, body) == (200, b"a 1\n")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["Content-Length"] == "4"


@pytest.mark.parametrize(("trouble", "status", "text"), [("", 200, b"ok\n"), ("no broker", 503, b"no broker\n")])
def test_health_is_told(trouble, status, text):
    def ask(url):
        return fetch(url.replace("metrics", "healthz"))

    assert asyncio.run(served(ask, trouble=lambda: trouble))[::2] == (status, text)


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../metrics", "/metricsx", "//metrics", "/favicon.ico"])
def test_there_is_nothing_else(path):
    assert asyncio.run(served(lambda url: fetch(url.replace("/metrics", path))))[0] == 404


def test_a_question_mark_changes_nothing():
    assert asyncio.run(served(lambda url: fetch(url + "?name[]=x")))[0] == 200


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE", "OPTIONS"])
def test_nothing_can_be_done(method):
    status, headers, _ = asyncio.run(served(lambda url: fetch(url, method=method)))
    assert (status, headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost@evil", ""])
def test_a_page_on_the_web_cannot_have_a_browser_here_read_it(host):
    assert asyncio.run(served(lambda url: fetch(url, headers={"Host": host})))[0] == 403


def test_the_computer_may_be_called_localhost():
    assert asyncio.run(served(lambda url: fetch(url, headers={"Host": "LocalHost:1"})))[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [b"\r\n\r\n", b"GET /metrics\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"GET  /metrics HTTP/1.1\r\n\r\n", b"\xff" * 99],
)
def test_what_is_no_request_is_told_so_or_dropped(request_bytes):
    def ask(url):
        with raw(url) as connection:
            connection.sendall(request_bytes)
            connection.shutdown(socket.SHUT_WR)
            return said(connection)

    assert asyncio.run(served(ask)).partition(b"\r\n")[0] in (b"HTTP/1.1 400 Bad Request", b"")


def test_a_request_without_end_is_dropped():
    def ask(url):
        with raw(url) as connection:
            try:
                for _ in range(100):
                    connection.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 10_000)
            except (BrokenPipeError, ConnectionResetError):
                return b""
            return said(connection)

    assert asyncio.run(served(ask)) == b""


def test_whoever_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(metrics_http, "_TIMEOUT_S", 0.1)

    def ask(url):
        with raw(url) as connection:
            connection.sendall(b"GET /met")
            return said(connection)

    assert asyncio.run(served(ask)) == b""


def test_whoever_opens_many_connections_leaves_room_once_they_are_gone(monkeypatch):
    monkeypatch.setattr(metrics_http, "_TIMEOUT_S", 0.3)

    def ask(url):
        with raw(url) as first:
            others = [socket.create_connection(first.getpeername(), timeout=10) for _ in range(100)]
            for each in others:
                assert said(each) == b""
                each.close()
        return fetch(url)[0]

    assert asyncio.run(served(ask)) == 200


def test_an_error_of_ours_ends_no_more_than_its_own_answer(caplog):
    def broken():
        raise RuntimeError("broken")

    def ask(url):
        with raw(url) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            dropped = said(connection)
        return dropped, fetch(url.replace("metrics", "healthz"))[0]

    assert asyncio.run(served(ask, text=broken)) == (b"", 200)
    assert "could not be answered" in caplog.text


def test_open_connections_do_not_keep_the_backend_from_ending():
    async def leave_while_somebody_waits():
        listening, url = listen()
        async with serve_metrics(lambda: "", lambda: "", listening):
            parts = urlsplit(url)
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(b"GET ")
            await writer.drain()
        writer.close()

    asyncio.run(asyncio.wait_for(leave_while_somebody_waits(), 4))


def test_who_has_connected_is_answered_while_one_backend_follows_another():
    listening, url = listen()
    ended = threading.Event()

    def ask():
        answers = 0
        while not ended.is_set():
            assert fetch(url)[0] == 200
            answers += 1
        return answers

    async def follow_each_other():
        asking = [asyncio.create_task(asyncio.to_thread(ask)) for _ in range(4)]
        for _ in range(100):
            async with serve_metrics(lambda: "a 1\n", lambda: "", listening.dup()):
                await asyncio.sleep(random.uniform(0, 0.01))
        async with serve_metrics(lambda: "a 1\n", lambda: "", listening.dup()):
            ended.set()
            return await asyncio.gather(*asking)

    with listening:
        assert all(asyncio.run(follow_each_other()))


def test_nobody_listens_any_more_once_it_has_ended():
    async def address():
        listening, url = listen()
        async with serve_metrics(lambda: "", lambda: "", listening):
            return urlsplit(url)

    parts = asyncio.run(address())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((parts.hostname, parts.port), timeout=10)
