"""A network whose nats-server somebody else runs, with the configuration that `landbridge up --print-config` gives."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess

import pytest

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
    with contextlib.ExitStack() as stack:
        text = operator.run("up", "--print-config", "--network", "Ocean Net").stdout
        assert re.search(r"^port: 4222$", text, re.MULTILINE)
        servers = tmp_path / "servers"
        servers.mkdir()
        url, websocket_url = stack.enter_context(nats_server(servers, text))
        up = operator.start("up", "--broker", url, "--broker", websocket_url, "--json")
        stack.callback(up.end)
        assert (up.ready["network"], up.ready["url"]) == ("Ocean Net", url)
        gfz = Computer(tmp_path / "gfz", stack)
        gfz.run("join", given=operator.json("invite", "institute", "gfz")["invitation"])
        stack.callback(gfz.serve(OCEAN, "gfz/ocean").end)
        assert gfz.run("call", "gfz/ocean.mean", "--a", "2").stdout == "2.0\n"
        assert [entry["module"] for entry in operator.json("ls")] == ["gfz/ocean"]
        up.stop()
        again = operator.start("up", "--broker", url, "--json")
        stack.callback(again.end)
        assert gfz.run("call", "gfz/ocean.mean", "--a", "2").stdout == "2.0\n"


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
