"""A whole network through all wires: TLS, certificates of clients, wss, and a proxy that lets nothing else out."""

from __future__ import annotations

import json
import socket
import ssl
import time
from urllib.parse import urlsplit

import pytest

import landbridge as lb
from authority import Authority
from connectproxy import connect_proxy
from integration.eve import credentials
from network import running_network

SOURCE = '''
"""Echoes."""
__all__ = ["add", "echo"]


def add(a: int, b: int) -> int:
    return a + b


def echo(value):
    return value
'''

CALLS = """
import asyncio
import numpy as np
import landbridge as lb

value = np.random.default_rng(7).integers(0, 256, 50_000_000, dtype=np.uint8)
with lb.connect() as net:
    assert net.awi.echo.add(1, 2) == 3
    assert np.array_equal(net.awi.echo.echo(value), value)


async def main():
    async with lb.AsyncNetwork() as net:
        assert await net.awi.echo.add(3, 4) == 7
        assert np.array_equal(await net.awi.echo.echo(value), value)


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def network(tmp_path_factory, authority):
    """Return an encrypted network that others reach as hub.example.org, with one module."""
    certificate, key = authority.issue("hub.example.org")
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key), "--address", "hub.example.org")
    with running_network(tmp_path_factory.mktemp("network"), *options) as network:
        network.serve(SOURCE, "awi/echo")
        yield network


@pytest.fixture
def proxy(network):
    """Return a proxy through which hub.example.org is to be reached, at the usual ports; nothing else finds it."""
    places = {"hub.example.org:443": network.up.ready["websocket_url"], "hub.example.org:4222": network.up.ready["url"]}
    with connect_proxy(places) as proxy:
        yield proxy


def presented(url: str) -> int:
    """Return the serial number of the certificate that is shown at `url`."""
    where = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((where.hostname, where.port), timeout=20) as stream:
        if where.scheme == "tls":
            while not stream.recv(65536).endswith(b"\r\n"):
                pass
        with context.wrap_socket(stream) as secured:
            import cryptography.x509

            return cryptography.x509.load_der_x509_certificate(secured.getpeercert(binary_form=True)).serial_number


def test_the_record_tells_where_it_is_for_us_and_for_others(network):
    ready = network.up.ready
    assert ready["url"].startswith("tls://127.0.0.1:")
    assert ready["websocket_url"].startswith("wss://127.0.0.1:")
    assert ready["public_url"] == ready["url"].replace("127.0.0.1", "hub.example.org")
    assert ready["public_websocket_url"] == ready["websocket_url"].replace("127.0.0.1", "hub.example.org")


def test_programs_of_this_computer_need_no_authority(network):
    with lb.connect() as net:
        assert net.awi.echo.add(1, 2) == 3
    done = network.run("doctor", "awi/echo", "--json")
    steps = {step["step"]: step for step in json.loads(done.stdout)["steps"]}
    assert done.returncode == 0, done.stdout
    assert {"tls", "browser tls", "browser websocket", "login", "awi/echo"} <= set(steps)


@pytest.mark.parametrize("url", ["wss://hub.example.org", "tls://hub.example.org"])
def test_everything_goes_through_a_proxy_and_a_private_authority(network, proxy, authority, url):
    env = {"LANDBRIDGE_URL": url, "LANDBRIDGE_CA": str(authority.ca), "HTTPS_PROXY": proxy.url}
    backend = network.serve(SOURCE.replace("Echoes", "Echoes, too"), "gfz/echo", **env)
    done = network.python(CALLS.replace("awi", "gfz"), timeout_s=100, **env)
    assert done.returncode == 0, done.stderr
    assert backend.stop() == 0
    assert {line.split(" ")[1] for line in proxy.asked} == {
        "hub.example.org:443" if url.startswith("wss") else "hub.example.org:4222"
    }
    assert proxy.carried_bytes > 8 * 50_000_000  # there and back, twice, and each from and to caller and backend
    assert b"eyJ0eXAi" not in proxy.heard  # no credential in the clear


def test_every_command_finds_the_way_through_the_proxy(network, proxy, authority):
    env = {"LANDBRIDGE_URL": "wss://hub.example.org", "LANDBRIDGE_CA": str(authority.ca), "https_proxy": proxy.url}
    assert "awi/echo" in network.run("ls", **env).stdout
    assert network.run("call", "awi/echo.add", "--a", "1", "--b", "2", **env).stdout == "3\n"
    assert "awi/echo" in network.run("top", "--once", **env).stdout
    done = network.run("doctor", "awi/echo", "--json", **env)
    steps = {step["step"]: step for step in json.loads(done.stdout)["steps"]}
    assert done.returncode == 0, done.stdout
    assert {"proxy", "tls", "websocket", "server", "login", "awi/echo"} <= set(steps)
    assert not {"name", "tcp"} & set(steps)


def test_a_profile_names_the_authority(network, proxy, authority, monkeypatch):
    folder = network.folder / "config" / "landbridge" / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_bytes(authority.ca.read_bytes())
    (folder / "hub.toml").write_text('url = "wss://hub.example.org"\nca = "ca.pem"\n')
    creds = folder / "hub.creds"
    creds.touch(mode=0o600)
    creds.write_text(credentials("awi", "anna").format())
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with lb.connect(profile="hub") as net:
        assert net.awi.echo.add(20, 22) == 42
    assert proxy.asked


def test_another_authority_is_refused_and_nothing_is_said_in_the_clear(network, proxy, tmp_path):
    other = Authority(tmp_path / "other")
    for url in ("wss://hub.example.org", "tls://hub.example.org"):
        env = {"LANDBRIDGE_URL": url, "LANDBRIDGE_CA": str(other.ca), "HTTPS_PROXY": proxy.url}
        done = network.run("ls", "--json", **env)
        assert done.returncode == 5
        assert "an authority that is not trusted here" in done.stderr
        assert f"through the proxy 127.0.0.1:{proxy.port}" in done.stderr
    assert len(proxy.asked) == 2
    assert b"eyJ0eXAi" not in proxy.heard
    assert b"CONNECT" not in proxy.heard


def test_a_broker_that_is_started_again_is_found_again(network):
    with lb.connect() as net:
        assert net.awi.echo.add(1, 2) == 3
        network.kill_broker()
        again = network.up.next_line()
        assert (again["event"], again["url"]) == ("restarted", network.up.ready["url"])
        assert net.awi.echo.add.options(timeout_s=60)(2, 3) == 5
    with lb.connect() as net:
        assert net.awi.echo.add(4, 5) == 9


def test_a_renewed_certificate_is_used_and_cuts_nobody_off(network, authority):
    before = {url: presented(url) for url in (network.up.ready["url"], network.up.ready["websocket_url"])}
    assert len(set(before.values())) == 1
    with lb.connect() as net:
        connection = net._link()._connection
        since = connection.connected_at
        authority.issue("hub.example.org")
        assert network.up.next_line() == {"event": "certificate_renewed"}
        deadline = time.monotonic() + 60
        for url, serial in before.items():
            while presented(url) == serial:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert net.awi.echo.add(1, 2) == 3
        assert connection.connected_at == since
    with lb.connect(profile="awi/anna") as net:  # of an institute that joined while the broker ran
        assert net.awi.echo.add(1, 2) == 3


def test_a_certificate_without_its_key_is_not_taken_until_the_key_is_there(network, authority, tmp_path):
    ready = network.up.ready
    certificate, key = authority.folder / "broker.pem", authority.folder / "broker-key.pem"
    fresh = Authority(tmp_path).issue("hub.example.org")
    serial = presented(ready["url"])
    fresh.certificate.replace(certificate)
    deadline = time.monotonic() + 60
    while "is not that of the certificate" not in network.up.stderr:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert presented(ready["url"]) == serial
    with lb.connect() as net:
        assert net.awi.echo.add(1, 2) == 3
    fresh.key.replace(key)
    assert network.up.next_line() == {"event": "certificate_renewed"}
    with lb.connect() as net:
        assert net.awi.echo.add(1, 2) == 3


@pytest.fixture(scope="module")
def closed(tmp_path_factory, authority):
    """Return a network that demands certificates of its clients."""
    certificate, key = authority.issue("localhost", "127.0.0.1", file="closed")
    mine = authority.issue("me@awi.de", file="mine")
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key), "--tls-client-ca", str(authority.ca))
    shown = {"LANDBRIDGE_CERTIFICATE": str(mine.certificate), "LANDBRIDGE_KEY": str(mine.key)}
    with running_network(tmp_path_factory.mktemp("closed"), *options, **shown) as network:
        network.serve(SOURCE, "awi/echo")
        yield network


def test_with_a_certificate_of_ours_calls_go_through_both_ports(closed, authority):
    for url in (None, closed.up.ready["url"], closed.up.ready["websocket_url"]):
        env = {} if url is None else {"LANDBRIDGE_URL": url, "LANDBRIDGE_CA": str(authority.ca)}
        done = closed.python(CALLS, timeout_s=100, **env)
        assert done.returncode == 0, done.stderr
        done = closed.run("doctor", "--json", **env)
        steps = [step["step"] for step in json.loads(done.stdout)["steps"]]
        assert done.returncode == 0, done.stdout
        assert "client certificate" in steps


@pytest.mark.parametrize("port", ["url", "websocket_url"])
def test_a_certificate_that_is_missing_or_of_others_is_told(closed, authority, tmp_path, port):
    other = Authority(tmp_path / "other").issue("me@awi.de")
    at = {"LANDBRIDGE_URL": closed.up.ready[port], "LANDBRIDGE_CA": str(authority.ca)}
    for shown, said in (
        (("", ""), "demands a certificate of ours"),
        ((str(other.certificate), str(other.key)), f"does not accept our certificate in {other.certificate}"),
    ):
        env = {**at, "LANDBRIDGE_CERTIFICATE": shown[0], "LANDBRIDGE_KEY": shown[1]}
        done = closed.run("ls", "--json", **env)
        assert done.returncode == 5
        assert said in done.stderr
        done = closed.run("doctor", "--json", **env)
        (failed,) = (step for step in json.loads(done.stdout)["steps"] if not step["ok"])
        assert failed["step"] == "client certificate"
        assert said in failed["detail"]
        assert failed["advice"]
