"""The embedded broker: which program is run, that it is ours, what it keeps, and that it ends."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from authority import Authority
from integration.broker.support import Network, connected, new_key
from landbridge.broker import find_server, push_account, start_server
from landbridge.broker.certificates import is_shown
from landbridge.broker.configuration import MAX_PAYLOAD_BYTES
from landbridge.broker.launcher import _from_here
from landbridge.errors import BrokerFailed, BrokerUnreachable, MissingExtra, NotConfigured


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that puts a program called nats-server, which says `version`, first on PATH."""

    def put(version: str):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / "nats-server"
        path.write_text(f"#!/bin/sh\necho '{version}'\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return path

    return put


@pytest.fixture
def no_wheel(monkeypatch):
    """Hide the installed wheel: the metadata of no distribution is found."""
    monkeypatch.setattr("importlib.metadata.files", lambda name: None)


def test_the_program_of_the_wheel_comes_before_that_of_path(program):
    other = program("nats-server: v2.99.0")
    found = find_server()
    assert found.name.startswith("nats-server")
    assert found != other


def test_an_old_program_on_path_is_refused_with_its_version(program, no_wheel):
    path = program("nats-server: v2.9.10")
    with pytest.raises(BrokerFailed, match=r"v2\.9\.10.*2\.12\.6") as caught:
        find_server()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("version", ["v2.12.6", "2.12.7", "v2.13.0-RC.1", "v3.0.0"])
def test_a_new_enough_program_on_path_is_taken(program, no_wheel, version):
    path = program(f"nats-server: {version}")
    assert find_server() == path


@pytest.mark.parametrize("version", ["v2.12.5", "v2.12.6-RC.1", "v2.11.99", "v1.99.99"])
def test_what_came_before_the_minimum_is_refused(program, no_wheel, version):
    program(f"nats-server: {version}")
    with pytest.raises(BrokerFailed):
        find_server()


def test_a_program_that_is_no_nats_server_is_refused(program, monkeypatch):
    monkeypatch.setenv("LANDBRIDGE_NATS_SERVER", str(program("hello")))
    with pytest.raises(BrokerFailed, match="hello"):
        find_server()


def test_the_explicit_setting_is_final(program, monkeypatch, tmp_path):
    monkeypatch.setenv("LANDBRIDGE_NATS_SERVER", str(program("nats-server: v2.99.0")))
    assert find_server() == tmp_path / "bin" / "nats-server"
    monkeypatch.setenv("LANDBRIDGE_NATS_SERVER", str(tmp_path / "missing"))
    with pytest.raises(BrokerFailed, match="missing"):
        find_server()


def test_without_any_program_the_install_line_is_named(no_wheel, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"landbridge\[server\]"):
        find_server()


def test_everything_is_in_the_directory_for_the_owner_only(network):
    with start_server(network.config()):
        pass
    found = list(network.directory.rglob("*"))
    assert {"server.conf", "server.log", "jetstream", "accounts"} <= {path.name for path in found}
    assert all(not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) for path in (network.directory, *found))


def test_a_path_cannot_change_the_configuration(network, tmp_path):
    directory = tmp_path / 'a "}\n$x\\ {é'
    with start_server(replace(network.config(), directory=directory)) as server:
        assert server.poll() is None
    assert (directory / "jetstream").is_dir()


async def test_a_started_server_takes_connections_and_long_messages(network, server):
    async with connected(server.url, network.user()) as peer:
        assert peer.connection.server_id == server.server_id
        assert peer.connection.max_payload == MAX_PAYLOAD_BYTES
    assert server.websocket_url.startswith("ws://127.0.0.1:")


async def test_strangers_are_refused(network, server):
    with pytest.raises(BrokerUnreachable, match="refuses the credentials"):
        async with connected(server.url, network.user(new_key("account"))):
            pass


def test_a_page_of_another_origin_may_not_connect(network):
    with start_server(replace(network.config(), allowed_origins=("https://portal.example.org",))) as server:
        assert b"101" in upgrade(server.websocket_url, "https://portal.example.org")
        assert b"403" in upgrade(server.websocket_url, "https://evil.example.org")


def test_without_origins_only_pages_of_its_own_may_connect(server):
    own = server.websocket_url.replace("ws://", "http://")
    assert b"101" in upgrade(server.websocket_url, own)
    assert b"403" in upgrade(server.websocket_url, "https://evil.example.org")


def test_files_to_encrypt_with_are_taken_over_whole_or_not_at_all(network, tmp_path):
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("127.0.0.1")
    config = network.config(tls_certificate=certificate, tls_key=key, tls_client_ca=authority.ca)
    with start_server(config) as server:
        assert (server.url[:6], server.websocket_url[:6]) == ("tls://", "wss://")
        kept = {file.name: file.read_bytes() for file in network.directory.glob("*.pem")}
        assert set(kept) == {"certificate.pem", "key.pem", "client_ca.pem", "pinned.pem"}
        assert {file.stat().st_mode & 0o777 for file in network.directory.glob("*.pem")} == {0o600}
        assert not server.renew_certificate()
        key.touch()
        assert not server.renew_certificate()
        certificate.write_text("half a certif")
        with pytest.raises(NotConfigured, match=r"broker\.pem"):
            server.renew_certificate()
        certificate.unlink()
        with pytest.raises(NotConfigured, match=r"broker\.pem"):
            server.renew_certificate()
        assert {file.name: file.read_bytes() for file in network.directory.glob("*.pem")} == kept
        authority.issue("127.0.0.1")
        assert server.renew_certificate()
        assert not server.renew_certificate()
        pinned = (network.directory / "pinned.pem").read_bytes()
        assert kept["pinned.pem"] in pinned
        assert pinned.count(b"BEGIN") == 2
    with start_server(config):
        assert (network.directory / "pinned.pem").read_bytes().count(b"BEGIN") == 1


def test_in_place_of_one_that_crashed_it_starts_with_the_certificate_that_one_had(network, tmp_path):
    certificate, key = Authority(tmp_path).issue("127.0.0.1")
    config = network.config(tls_certificate=certificate, tls_key=key)
    with start_server(config) as server:
        server.kill()
    content = certificate.read_bytes()
    certificate.write_text("half a certif")
    with pytest.raises(NotConfigured):
        start_server(config)
    with start_server(config, again=True) as server:
        with pytest.raises(NotConfigured, match=r"broker\.pem"):
            server.renew_certificate()
        certificate.write_bytes(content + b"\n")
        assert server.renew_certificate()


def copies(folder):
    """Return what the broker reads, and whom programs of this computer trust."""
    return {file.name: file.read_bytes() for file in folder.glob("*.pem")}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (ed448.Ed448PrivateKey.generate, "does not take"),  # only nats-server itself says so
        (lambda: ec.generate_private_key(ec.SECP256K1()), "Nobody could connect"),
    ],
)
def test_a_certificate_that_nats_server_does_not_know_is_not_taken(network, tmp_path, kind, said):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    config = network.config(tls_certificate=certificate, tls_key=key)
    with start_server(config) as server:
        authority.issue("127.0.0.1")
        assert server.renew_certificate()
        kept = copies(network.directory)
        authority.issue_of_other_kind(kind())
        with pytest.raises(NotConfigured, match=said):
            server.renew_certificate()
        assert copies(network.directory) == kept
        assert not server.renew_certificate()
        assert all(is_shown(config, url) for url in (server.url, server.websocket_url))
        server.kill()
    with pytest.raises(BrokerFailed):
        start_server(config)  # it is not that one that has crashed


def test_after_a_crash_it_starts_with_the_certificate_before_one_that_it_does_not_know(network, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    config = network.config(tls_certificate=certificate, tls_key=key)
    with start_server(config) as server:
        server.kill()
    kept = copies(network.directory)
    authority.issue_of_other_kind(ed448.Ed448PrivateKey.generate())
    with start_server(config, again=True) as server:
        assert copies(network.directory) == kept
        assert is_shown(config, server.url)
        with pytest.raises(NotConfigured, match="does not take"):
            server.renew_certificate()
        authority.issue("127.0.0.1")
        assert server.renew_certificate()
        assert is_shown(config, server.websocket_url)


def test_a_certificate_that_has_expired_is_not_taken(network, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    config = network.config(tls_certificate=certificate, tls_key=key)
    with start_server(config) as server:
        kept = copies(network.directory)
        authority.issue("127.0.0.1", expired=True)
        with pytest.raises(NotConfigured, match=r"broker\.pem has expired"):
            server.renew_certificate()
        assert copies(network.directory) == kept
        server.kill()
    with start_server(config, again=True) as server:
        assert copies(network.directory) == kept
        with pytest.raises(NotConfigured, match="has expired"):
            server.renew_certificate()


def test_authorities_that_nats_server_does_not_know_are_not_taken(network, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    client_ca = tmp_path / "clients.pem"
    client_ca.write_bytes(authority.ca.read_bytes())
    config = network.config(tls_certificate=certificate, tls_key=key, tls_client_ca=client_ca)
    with start_server(config) as server:
        kept = copies(network.directory)
        odd = authority.issue_of_other_kind(ec.generate_private_key(ec.SECP256K1()), file="odd")
        client_ca.write_bytes(odd.certificate.read_bytes())
        with pytest.raises(NotConfigured, match="does not take"):
            server.renew_certificate()
        assert copies(network.directory) == kept


def test_a_renewal_that_fails_for_want_of_space_is_tried_again(network, tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    config = network.config(tls_certificate=certificate, tls_key=key)

    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with start_server(config) as server:
        kept = copies(network.directory)
        authority.issue("127.0.0.1")
        with monkeypatch.context() as disk:
            disk.setattr("landbridge.broker.certificates._write", full)
            with pytest.raises(OSError, match="No space"):
                server.renew_certificate()
            assert not server.renew_certificate()  # nor is it told again five times a second
            now = time.monotonic()
            disk.setattr("landbridge.broker.launcher.time.monotonic", lambda: now + 61)
            with pytest.raises(OSError, match="No space"):
                server.renew_certificate()
            disk.setattr("landbridge.broker.launcher.time.monotonic", lambda: now + 61 + 119)
            assert not server.renew_certificate()
        assert copies(network.directory) == kept
        monkeypatch.setattr("landbridge.broker.launcher.time.monotonic", lambda: now + 61 + 121)
        assert server.renew_certificate()
        assert is_shown(config, server.url)


def test_a_broker_does_not_start_with_files_that_cannot_be_used(network, tmp_path):
    certificate, key = Authority(tmp_path).issue("127.0.0.1")
    key.chmod(0o604)
    with pytest.raises(NotConfigured, match="chmod o="):
        start_server(network.config(tls_certificate=certificate, tls_key=key))
    key.chmod(0o640)  # as those who renew certificates leave it to a group
    with start_server(network.config(tls_certificate=certificate, tls_key=key)) as server:
        assert server.url.startswith("tls://")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for files in (
        {"tls_certificate": nonsense, "tls_key": key},
        {"tls_certificate": certificate, "tls_key": nonsense},
        {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": nonsense},
    ):
        with pytest.raises(NotConfigured, match=r"nonsense\.pem"):
            start_server(network.config(**files))


@pytest.mark.parametrize(
    ("url", "host", "here"),
    [
        ("tls://192.0.2.2:4222", "0.0.0.0", "tls://127.0.0.1:4222"),
        ("wss://[fd00::2]:443", "::", "wss://[::1]:443"),
        ("tls://192.0.2.2:4222", "192.0.2.2", "tls://192.0.2.2:4222"),
    ],
)
def test_programs_of_this_computer_reach_what_listens_everywhere(url, host, here):
    assert _from_here(url, host) == here


def upgrade(url: str, origin: str) -> bytes:
    """Return the status line for a websocket handshake from a page of `origin`."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(
            f"GET / HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\nOrigin: {origin}\r\n\r\n".encode()
        )
        return connection.makefile("rb").readline()


def test_a_taken_port_is_told_with_the_end_of_the_log(network, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerFailed, match="address already in use"):
            start_server(network.config(port=port))


def test_another_server_at_the_port_is_not_taken_for_ours(network, tmp_path):
    with start_server(network.config()) as first:
        port = urlsplit(first.url).port
        with pytest.raises(BrokerFailed):
            start_server(replace(network.config(port=port), directory=tmp_path / "second"))
        assert first.poll() is None


def test_a_failure_shows_no_claims(network):
    config = network.config()
    broken = replace(config, operator_jwt=config.operator_jwt[:-8] + "AAAAAAAA")
    with pytest.raises(BrokerFailed) as caught:
        start_server(broken)
    assert "eyJ" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "x", 'a.b.c"\n', "eyJ.eyJ"])
def test_what_are_no_claims_is_refused_before_anything_starts(network, text):
    with pytest.raises(BrokerFailed):
        start_server(replace(network.config(), operator_jwt=text))
    assert not network.directory.exists()


async def test_an_account_pushed_at_run_time_works_and_survives_a_crash(network):
    config = network.config()
    account = new_key("account")
    server = start_server(config)
    try:
        async with connected(server.url, network.user(network.system)) as system:
            await push_account(system.connection, network.account_jwt(account))
        async with connected(server.url, network.user(account)):
            pass
    finally:
        server.kill()
    with start_server(config) as again:
        async with connected(again.url, network.user(account)):
            pass


async def test_a_newer_account_is_not_undone_by_the_one_known_from_the_start(network):
    config = network.config()
    banned = network.user()
    key = banned.key.public_key.decode()
    with start_server(config) as server:
        async with connected(server.url, network.user(network.system)) as system:
            changed = network.account_jwt(network.account, revocations={key: 2**40}, iat=int(time.time()) + 1)
            await push_account(system.connection, changed)
    with start_server(config) as again:
        with pytest.raises(BrokerUnreachable, match="refuses"):
            async with connected(again.url, banned):
                pass
        async with connected(again.url, network.user()):
            pass


async def test_an_account_of_another_operator_admits_nobody(network, server, tmp_path):
    account = new_key("account")
    async with connected(server.url, network.user(network.system)) as system:
        await push_account(system.connection, Network(tmp_path).account_jwt(account))
    with pytest.raises(BrokerUnreachable, match="refuses"):
        async with connected(server.url, network.user(account)):
            pass


@pytest.mark.parametrize("text", ["", "garbage", "eyJ.eyJ.eyJ"])
async def test_what_are_no_claims_of_an_account_is_refused(network, server, text):
    async with connected(server.url, network.user(network.system)) as system:
        with pytest.raises(BrokerFailed, match="did not accept"):
            await push_account(system.connection, text)


async def test_an_ordinary_user_cannot_push_accounts(network, server):
    async with connected(server.url, network.user()) as peer:
        with pytest.raises(BrokerFailed):
            await push_account(peer.connection, network.account_jwt(new_key("account")))


async def test_what_was_stored_comes_back_on_the_same_port_after_a_crash(network):
    config = network.config()
    jetstream = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    account = new_key("account")
    claims = network.account_jwt(account, limits={**network.limits, **jetstream})
    config = replace(config, accounts={**config.accounts, account.public_key.decode(): claims})
    stream = json.dumps({"name": "S", "subjects": ["s.>"]}).encode()
    server = start_server(config)
    try:
        async with connected(server.url, network.user(account)) as peer:
            for subject, payload in (("$JS.API.STREAM.CREATE.S", stream), ("s.one", b"kept")):
                answer = await peer.connection.request(subject, payload, inbox="_INBOX.a", timeout_s=10)
                assert b"error" not in answer.payload
    finally:
        server.kill()
    with start_server(replace(config, port=urlsplit(server.url).port)) as again:
        assert again.url == server.url
        assert again.server_id != server.server_id
        async with connected(again.url, network.user(account)) as peer:
            answer = await peer.connection.request("$JS.API.STREAM.INFO.S", b"", inbox="_INBOX.b", timeout_s=10)
            assert json.loads(answer.payload)["state"]["messages"] == 1


def test_stopping_ends_the_process_and_can_be_repeated(network):
    server = start_server(network.config())
    server.stop()
    assert server.poll() == 0
    server.stop()
    server.kill()
