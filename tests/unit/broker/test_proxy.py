"""Which proxy a broker is reached through, and what proxies answer; no name or password is ever shown."""

from __future__ import annotations

import asyncio
import base64
import re

import pytest

from landbridge.broker.proxy import Proxy, ProxyFailed, connect_through, dial_through, proxy_for
from landbridge.errors import NotConfigured
from landbridge.tls import Tls


def chosen(host: str = "hub.example.org", port: int = 443, scheme: str = "wss", **environment: str) -> str | None:
    proxy = proxy_for(scheme, host, port, Tls(), {"HTTPS_PROXY": "http://proxy.example.org:3128", **environment})
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize("scheme", ["tls", "wss"])
def test_what_is_encrypted_goes_through_the_proxy(scheme):
    assert chosen(scheme=scheme) == "proxy.example.org:3128"


@pytest.mark.parametrize("scheme", ["nats", "ws"])
def test_what_is_not_encrypted_does_not(scheme):
    assert chosen(scheme=scheme) is None


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_computer_is_reached_directly(host):
    assert chosen(host) is None


def test_the_own_broker_is_reached_directly_at_whichever_address(tmp_path):
    tls = Tls(pinned=tmp_path / "pinned.pem")
    assert proxy_for("tls", "192.0.2.7", 4222, tls, {"HTTPS_PROXY": "http://p:1"}) is None
    assert proxy_for("tls", "192.0.2.7", 4222, Tls(), {"HTTPS_PROXY": "http://p:1"}) is not None


def test_without_a_variable_there_is_none():
    assert proxy_for("wss", "hub.example.org", 443, Tls(), {}) is None
    assert (
        proxy_for("wss", "hub.example.org", 443, Tls(), {"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}) is None
    )
    assert chosen(https_proxy="") is None


def test_small_letters_count_first():
    assert chosen(https_proxy="http://other:8080") == "other:8080"
    assert chosen(NO_PROXY="hub.example.org", no_proxy="elsewhere") == "proxy.example.org:3128"
    assert chosen(no_proxy="hub.example.org", NO_PROXY="elsewhere") is None


@pytest.mark.parametrize(
    ("entries", "host", "is_named"),
    [
        ("*", "hub.example.org", True),
        ("example.org", "hub.example.org", True),
        (".example.org", "hub.example.org", True),
        ("*.example.org", "hub.example.org", True),
        ("EXAMPLE.org", "hub.Example.ORG", True),
        ("hub.example.org.", "hub.example.org", False),
        ("ample.org", "hub.example.org", False),
        ("hub.example", "hub.example.org", False),
        ("awi.de, hub.example.org", "hub.example.org", True),
        ("awi.de hub.example.org", "hub.example.org", True),
        ("hub.example.org:443", "hub.example.org", True),
        ("hub.example.org:4222", "hub.example.org", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.1/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "hub.example.org", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("2.3", "10.1.2.3", False),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]:443", "fd00::1", True),
        ("[fd00::1]:80", "fd00::1", False),
        (",, ,", "hub.example.org", False),
        (".", "hub.example.org", False),
        ("hub.example.org:" + "9" * 5000, "hub.example.org", False),
    ],
)
def test_brokers_that_need_no_proxy(entries, host, is_named):
    assert (chosen(host, NO_PROXY=entries) is None) == is_named


@pytest.mark.parametrize(
    ("given", "shown"),
    [("proxy:8080", "proxy:8080"), ("http://proxy", "proxy:80"), ("http://[fd00::1]:1/", "[fd00::1]:1"),
     ("HTTP://u:p@proxy:8080/", "proxy:8080"), ("http://proxy.:8080", "proxy.:8080")],
)  # fmt: skip
def test_addresses_of_proxies(given, shown):
    assert chosen(HTTPS_PROXY=given) == shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("https://u:s3cret@proxy:8080", "'https' proxies are not known"),
        ("socks5://u:s3cret@proxy:8080", "only http ones"),
        ("http://u:s3cret@proxy:99999", "cannot be read"),
        ("http://u:s3cret@:8080", "no host"),
        ("http://u:s3cret@pro xy:8080", "no host"),
        ("http://proxy:0", "no host and port"),
        ("http://[s3cret", "cannot be read"),
        ("http://u:s3cret\ud800@proxy:8080", "no text"),
        ("http://..:3128", "no host and port"),
        (f"http://{'a' * 64}.example.org:3128", "no host and port"),
        ("http://u:12/s3cret@proxy:8080", "%2F"),  # bob's password begins with a number
        ("http://u:12?s3cret@proxy:8080", "%2F"),
        ("http://u:12#s3cret@proxy:8080", "%2F"),
        ("http://s3cret/x@proxy:8080", "%2F"),
        ("s3cret:x://y@proxy:8080", "%2F"),
        ("http://proxy:8080/path", "%2F"),
    ],
)
def test_what_is_no_proxy_is_refused_and_not_shown(given, said):
    with pytest.raises(NotConfigured, match=said) as caught:
        chosen(HTTPS_PROXY=given)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value.__cause__)


@pytest.mark.parametrize("host", ["hub\r\nX: y", "hub ", "hub/", "a" * 300, "hub\x00"])
def test_a_host_that_would_be_more_than_one_is_refused(host):
    with pytest.raises(NotConfigured, match="no name of a host"):
        chosen(host)


def test_the_request_names_the_broker_and_shows_who_we_are():
    proxy = proxy_for("wss", "fd00::1", 443, Tls(), {"HTTPS_PROXY": "http://a%40b:p%3Aä@proxy:1"})
    first, host, login, *rest = proxy.request().decode("ascii").split("\r\n")
    assert (first, host, rest) == ("CONNECT [fd00::1]:443 HTTP/1.1", "Host: [fd00::1]:443", ["", ""])
    assert base64.b64decode(login.removeprefix("Proxy-Authorization: Basic ")).decode() == "a@b:p:ä"
    assert proxy.login not in repr(proxy)
    assert b"Authorization" not in proxy_for("tls", "hub", 1, Tls(), {"HTTPS_PROXY": "http://p:1"}).request()


def test_passwords_in_other_encodings_are_shown_as_they_were_given():
    for given in ("http://a:p%FC\udcfc@proxy:1", "http://a:\udcfc%FC@proxy:1"):  # as os.environ has what is not UTF-8
        proxy = proxy_for("wss", "hub", 443, Tls(), {"HTTPS_PROXY": given})
        login = re.search(rb"Basic (.*)\r\n", proxy.request())[1]
        assert base64.b64decode(login).lstrip(b"a:p") == b"\xfc\xfc"


@pytest.mark.parametrize("host", ["..", "a" * 64])
def test_a_name_that_cannot_be_one_is_told_as_such(host):
    with pytest.raises(ProxyFailed, match="its name is not known"):
        dial_through(Proxy(host, 1, "hub:443"), 5.0)
    with pytest.raises(ProxyFailed, match="its name is not known"):
        asyncio.run(connect_through(Proxy(host, 1, "hub:443")))


def test_names_of_other_alphabets_are_asked_for_as_the_name_system_knows_them():
    assert proxy_for("wss", "bücher.example", 443, Tls(), {"HTTPS_PROXY": "p:1"}).target == "xn--bcher-kva.example:443"


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200\r\nVia: x\r\n\r\n", b"HTTP/1.1 204 \n\n"]
)
def test_answers_that_let_us_through(answer):
    Proxy("p", 1, "hub:443").check(answer)  # raises for all others, see below


@pytest.mark.parametrize(
    ("answer", "login", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "", "demands a name and password"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "x", "does not accept the name and password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "", r"does not let us through to hub:443 \(403 Forbidden\)"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "", "cannot reach hub:443"),
        (b"HTTP/1.1 504\r\n\r\n", "", r"cannot reach hub:443 \(504\)"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil\r\n\r\n", "", "did not let us through"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "", "did not let us through"),
        (b"HTTP/1.1 200OK\r\n\r\n", "", "no HTTP proxy"),
        (b"HTTP/2 200 OK\r\n\r\n", "", "no HTTP proxy"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "", "no HTTP proxy"),
        (b"HTTP/1.1 \xb2\xb0\xb0 OK\r\n\r\n", "", "no HTTP proxy"),
        (b"HTTP/1.1 403 \x1b[31m" + b"x" * 5000 + b"\r\n\r\n", "", "\ufffd"),
    ],
)
def test_answers_that_do_not(answer, login, said):
    with pytest.raises(ProxyFailed, match=said) as caught:
        Proxy("p", 1, "hub:443", login).check(answer)
    assert caught.value.advice
    assert len(str(caught.value)) < 300
