"""A network whose nats-server somebody else runs, with the configuration that `landbridge up --print-config` gives."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from authority import Authority
from computers import Computer
from landbridge.broker import find_server
from landbridge.security import decode_jwt

OCEAN = "__all__ = ['mean']\ndef mean(a: float) -> float:\n    return a\n"


@contextlib.contextmanager
def nats_server(folder, text):
    """Run a nats-server with a printed configuration, at free ports and in this folder, and give its addresses."""
    for port in re.findall(r"^ *port: (\d+)$", text, re.MULTILINE):
        text = text.replace(f"port: {port}", "port: -1")
    text = text.replace("/var/lib/nats", str(folder)) + f'ports_file_dir: "{folder}"\n'
    (folder / "server.conf").write_text(text)
    process = subprocess.Popen([str(find_server()), "-c", "server.conf"], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        ports = None
        while ports is None:  # the file may be there before its content is
            assert process.poll() is None
            with contextlib.suppress(StopIteration, ValueError):
                ports = json.loads(next(folder.glob("*.ports")).read_text())
        yield ports["nats"][0], ports["websocket"][0]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def operator(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Computer(tmp_path / "operator", stack)


def test_a_network_runs_on_servers_that_somebody_else_runs(tmp_path, operator):
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("127.0.0.1")
    trusting = {"LANDBRIDGE_CA": str(authority.ca)}
    with contextlib.ExitStack() as stack:
        text = operator.run("up", "--print-config", "--network", "Ocean Net").stdout
        assert re.search(r"^port: 4222$", text, re.MULTILINE)
        for usual, here in (("/etc/nats/fullchain.pem", certificate), ("/etc/nats/privkey.pem", key)):
            assert text.count(usual) == 2
            text = text.replace(usual, str(here))
        servers = tmp_path / "servers"
        servers.mkdir()
        url, websocket_url = stack.enter_context(nats_server(servers, text))
        assert (url[:6], websocket_url[:6]) == ("tls://", "wss://")
        up = operator.start("up", "--broker", url, "--broker", websocket_url, "--json", **trusting)
        stack.callback(up.end)
        assert (up.ready["network"], up.ready["url"]) == ("Ocean Net", url)
        gfz = Computer(tmp_path / "gfz", stack)
        invitation = operator.json("invite", "institute", "gfz", "--ca", str(authority.ca), **trusting)["invitation"]
        gfz.run("join", given=invitation)
        stack.callback(gfz.serve(OCEAN, "gfz/ocean").end)
        assert gfz.run("call", "gfz/ocean.mean", "--a", "2").stdout == "2.0\n"
        assert [entry["module"] for entry in operator.json("ls", **trusting)] == ["gfz/ocean"]
        up.stop()
        again = operator.start("up", "--broker", url, "--json", **trusting)
        stack.callback(again.end)
        assert gfz.run("call", "gfz/ocean.mean", "--a", "2").stdout == "2.0\n"


def test_the_printed_configuration_is_of_use_elsewhere_and_encrypts(operator):
    usual = 'tls { timeout: 5, cert_file: "/etc/nats/fullchain.pem", key_file: "/etc/nats/privkey.pem" }'
    text = operator.run("up", "--print-config").stdout
    assert [line.strip() for line in text.splitlines() if "tls {" in line] == [usual, usual]
    assert re.findall(r"^ *host: (.*)$", text, re.MULTILINE) == ['"0.0.0.0"', '"0.0.0.0"']
    assert "landbridge up --broker tls://HOST:4222" in text
    assert "no_tls" not in text
    text = operator.run("up", "--print-config", "--host", "192.0.2.1", "--tls-client-ca", "clients.pem").stdout
    assert text.count(f'privkey.pem", ca_file: "{Path.cwd()}/clients.pem", verify: true }}') == 2
    assert text.count('host: "192.0.2.1"') == 2


def test_the_printed_configuration_names_files_by_their_whole_path(operator):
    words = ("--tls-certificate", 'a "b".pem', "--tls-key", "key.pem")  # which are elsewhere
    text = operator.run("up", "--print-config", *words).stdout
    tls = f'tls {{ timeout: 5, cert_file: "{Path.cwd()}/a \\"b\\".pem", key_file: "{Path.cwd()}/key.pem" }}'
    assert [line.strip() for line in text.splitlines() if "tls {" in line] == [tls, tls]


def test_the_printed_configuration_encrypts_nothing_if_told_so(tmp_path, operator):
    text = operator.run("up", "--print-config", "--unencrypted").stdout
    assert "tls {" not in text
    assert text.count("no_tls: true") == 1
    assert "landbridge up --unencrypted --broker nats://HOST:4222" in text
    with nats_server(tmp_path, text) as (url, websocket_url):
        assert (url[:7], websocket_url[:5]) == ("nats://", "ws://")


def test_the_printed_configuration_has_no_secret(operator):
    text = operator.run("up", "--print-config").stdout
    keys = json.loads((operator.state / "local" / "keys.json").read_text())
    seeds = re.findall(r"\bS[AOU][A-Z2-7]{56}\b", json.dumps(keys))
    assert len(seeds) >= 5
    assert not any(seed in text for seed in seeds)
    for token in re.findall(r"eyJ[\w.-]+", text):
        assert decode_jwt(token)["nats"]["type"] in ("operator", "account")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--broker", "nats://127.0.0.1:1", "--port", "4222"), "in their own configuration"),
        (("--broker", "hub"), "must look like nats://HOST:PORT"),
        (("--broker", "nats://127.0.0.1:1"), "Cannot connect to the broker"),
        (("--broker", "ws://[::1]:1"), "Cannot connect to the broker"),
        (("--broker", "nats://192.0.2.1:99999"), "must look like nats://HOST:PORT"),
        (("--broker", "nats://hub.invalid", "--unencrypted"), "Cannot connect to the broker"),
    ],
)
def test_servers_that_cannot_be_used_are_told(operator, words, said):
    assert said in operator.run("up", *words, code=None).stderr
