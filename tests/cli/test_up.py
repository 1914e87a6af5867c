"""``landbridge up``: one network for each user, and nothing left of it when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from authority import Authority
from network import COMMAND
from procfs import is_running

from .conftest import error_code


@contextlib.contextmanager
def running_up(env, *options):
    process = subprocess.Popen(
        [*COMMAND, "up", "--json", *options], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_network_and_its_broker(empty_env, number):
    with running_up(empty_env) as (process, ready):
        assert is_running(ready["pid"])
        process.send_signal(number)
        assert process.wait(20) == 0
        assert not is_running(ready["pid"])


def test_a_second_up_says_where_the_first_one_is(network):
    done = network.run("up", "--json")
    assert (done.returncode, error_code(done.stdout)) == (5, "not_configured")
    assert network.up.ready["url"] in done.stderr
    assert str(network.up.ready["pid"]) in done.stderr


def test_a_broker_that_crashed_is_started_again_and_that_is_told(empty_env):
    with running_up(empty_env) as (process, ready):
        os.kill(ready["pid"], signal.SIGKILL)
        again = json.loads(process.stdout.readline())
        assert again["pid"] != ready["pid"]
        assert again == {**again, "event": "restarted", "url": ready["url"], "websocket_url": ready["websocket_url"]}
        process.terminate()
        assert "has been started again, at the same address." in process.stderr.read()


def test_a_broker_that_had_to_be_started_elsewhere_says_where(empty_env):
    with running_up(empty_env, "--address", "hub.example.org") as (process, ready), contextlib.ExitStack() as stack:
        os.kill(ready["pid"], signal.SIGKILL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:  # as soon as it has let go of it, and before it is started again
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", urlsplit(ready["url"]).port)))
                break
        again = json.loads(process.stdout.readline())
        assert again["event"] == "restarted"
        assert again["url"] != ready["url"]
        process.terminate()
        said = process.stderr.read()
        assert "but not where it was, as somebody has taken its place" in said
        assert f"runs at {again['url']}" in said
        assert f"Others reach it at {again['public_url']}" in said
        assert "same address" not in said


def test_people_are_told_what_to_type_next(empty_env):
    process = subprocess.Popen(
        [*COMMAND, "up"], env=empty_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        lines = [process.stdout.readline() for _ in range(4)]
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert "nats://127.0.0.1:" in lines[0]
    assert lines[2:] == ["  landbridge serve FILE.py --as INSTITUTE/MODULE\n", "  landbridge ls\n"]


TLS = ["--tls-certificate", "broker.pem", "--tls-key", "key.pem"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "--unencrypted, if a proxy"),
        (["--host", "192.0.2.1"], "could read along"),
        (["--host", "hub.example.org"], "could read along"),
        (["--host", "::"], "could read along"),
        (["--host", "a b"], "must be an address"),
        (["--address", "hub.example.org/x"], "must be the name of a host"),
        (["--tls-certificate", "broker.pem"], "give both, or neither"),
        (["--tls-key", "key.pem"], "give both, or neither"),
        (["--tls-client-ca", "ca.pem"], "needs --tls-certificate"),
        ([*TLS, "--unencrypted"], "leave it out"),
        (["--broker", "nats://192.0.2.1:4222"], "Give tls:// in place of nats://; or --unencrypted"),
        (["--broker", "tls://hub.example.org", "--broker", "ws://hub.example.org"], "Give wss:// in place of ws://"),
        (["--broker", "nats://127.0.0.1.example.org"], "could read along"),
    ],
)
def test_options_that_would_leave_others_to_read_along_are_refused(empty_env, words, said):
    done = subprocess.run([*COMMAND, "up", *words, "--json"], env=empty_env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, error_code(done.stdout)) == (2, "usage")
    assert said in done.stderr


def test_files_to_encrypt_with_that_are_missing_are_named(empty_env):
    done = subprocess.run([*COMMAND, "up", *TLS, "--json"], env=empty_env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, error_code(done.stdout)) == (5, "not_configured")
    assert "broker.pem" in done.stderr


def test_a_certificate_that_has_expired_is_told_at_once(empty_env, tmp_path):
    certificate, key = Authority(tmp_path / "authority").issue("127.0.0.1", expired=True)
    words = ["--tls-certificate", certificate, "--tls-key", key, "--json"]
    done = subprocess.run([*COMMAND, "up", *words], env=empty_env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 5
    assert "has expired" in done.stderr


@pytest.mark.parametrize("kind", [ed448.Ed448PrivateKey.generate, lambda: ec.generate_private_key(ec.SECP256K1())])
def test_a_renewed_certificate_that_nats_server_does_not_know_ends_nothing(empty_env, tmp_path, kind):
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("127.0.0.1")
    with running_up(empty_env, "--tls-certificate", certificate, "--tls-key", key) as (process, ready):
        authority.issue_of_other_kind(kind())
        assert "the broker goes on with the certificate it has" in process.stderr.readline()
        os.kill(ready["pid"], signal.SIGKILL)
        again = json.loads(process.stdout.readline())
        assert (again["event"], again["url"]) == ("restarted", ready["url"])
        authority.issue("127.0.0.1")
        assert json.loads(process.stdout.readline()) == {"event": "certificate_renewed"}


def test_who_demands_certificates_must_have_one_to_show(empty_env, tmp_path):
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("127.0.0.1")
    words = ["--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca", authority.ca, "--json"]
    done = subprocess.run([*COMMAND, "up", *words], env=empty_env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, error_code(done.stdout)) == (5, "not_configured")
    assert "LANDBRIDGE_CERTIFICATE" in done.stderr


def test_elsewhere_than_on_this_computer_it_listens_in_the_clear_when_told_so(empty_env):
    options = ["--host", "127.0.0.1", "--address", "hub.example.org", "--unencrypted"]
    with running_up(empty_env, *options) as (_, ready):
        assert ready["url"].startswith("nats://127.0.0.1:")
        assert ready["public_url"] == ready["url"].replace("127.0.0.1", "hub.example.org")


@pytest.mark.parametrize("words", [["--port", "70000"], ["--port", "x"], ["--prt", "1"]])
def test_a_wrong_option_is_a_usage_error(network, words):
    done = network.run("up", *words, "--json")
    assert (done.returncode, error_code(done.stdout)) == (2, "usage")
