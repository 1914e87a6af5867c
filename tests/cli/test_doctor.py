"""``landbridge doctor``: names the hop that fails."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from connectproxy import connect_proxy


def steps_of(done):
    report = json.loads(done.stdout)
    return report["ok"], {step["step"]: step for step in report["steps"]}


def test_a_network_that_works_passes_every_step(network):
    done = network.run("doctor", "geomar/ocean", "--json")
    ok, steps = steps_of(done)
    assert (done.returncode, ok) == (0, True)
    assert {"configuration", "broker record", "credential", "tcp", "server", "browser websocket", "login", "round trip",
            "catalogue", "clock", "geomar/ocean"} <= set(steps)  # fmt: skip


def test_people_read_one_line_for_each_step(network):
    lines = network.run("doctor").stdout.splitlines()
    assert lines[-1] == "All is well."
    assert all(line.startswith("ok ") for line in lines[:-1])


def test_without_a_network_the_record_is_missing(network, empty_env):
    done = network.run("doctor", "--json", **empty_env)
    ok, steps = steps_of(done)
    assert (done.returncode, ok) == (5, False)
    assert "landbridge up" in steps["broker record"]["detail"]


def test_a_port_where_nobody_listens_fails_at_tcp(network):
    with socket.socket() as held:  # bound, and not listening: nobody else can get the port meanwhile
        held.bind(("127.0.0.1", 0))
        done = network.run("doctor", "--json", LANDBRIDGE_URL=f"nats://127.0.0.1:{held.getsockname()[1]}")
    _, steps = steps_of(done)
    assert done.returncode == 5
    assert steps["tcp"]["ok"] is False
    assert "login" not in steps


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not greet as a NATS server"),
        (b'INFO {"version": "2.10.1"}\r\n', "older than 2.12.6"),
        (b"INFO [" + b"[" * 5000 + b"\r\n", "does not greet"),
        (b"INFO {}" + b"x" * 100_000, "does not greet"),
        (b"", "closed the connection"),
    ],
)
def test_what_is_no_broker_of_ours_fails_at_the_server(network, greeting, told):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=_greet, args=(listener, greeting))
        answering.start()
        done = network.run("doctor", "--json", LANDBRIDGE_URL=f"nats://127.0.0.1:{listener.getsockname()[1]}")
        answering.join(10)
    _, steps = steps_of(done)
    assert done.returncode == 5
    assert steps["server"]["ok"] is False
    assert told in steps["server"]["detail"]


def test_an_address_of_another_form_is_told(network):
    _, steps = steps_of(network.run("doctor", "--json", LANDBRIDGE_URL="nats://host:99999"))
    assert steps["configuration"]["ok"] is False


def test_a_module_that_is_unknown_fails_under_its_name(network):
    done = network.run("doctor", "geomar/ocaen", "--json")
    assert done.returncode == 5
    assert "Did you mean" in steps_of(done)[1]["geomar/ocaen"]["detail"]


def test_a_profile_that_is_missing_fails_at_the_configuration(network):
    done = network.run("doctor", "--profile", "nobody", "--json")
    assert done.returncode == 5
    assert "nobody.toml" in steps_of(done)[1]["configuration"]["detail"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "demands a name and password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not let us through to hub.example.org:443"),
    ],
)
def test_a_proxy_that_refuses_fails_at_the_proxy(network, answer, told):
    with connect_proxy(answer=answer) as proxy:
        env = {"LANDBRIDGE_URL": "wss://hub.example.org", "HTTPS_PROXY": proxy.url}
        done = network.run("doctor", "--json", **env)
        assert proxy.asked == ["CONNECT hub.example.org:443 HTTP/1.1"]
    _, steps = steps_of(done)
    assert done.returncode == 5
    assert told in steps["proxy"]["detail"]
    assert steps["proxy"]["advice"]
    assert "login" not in steps


def test_files_of_encryption_that_cannot_be_used_fail_at_the_configuration(network, tmp_path):
    done = network.run("doctor", "--json", LANDBRIDGE_CERTIFICATE=str(tmp_path / "me.pem"))
    assert done.returncode == 5
    assert "LANDBRIDGE_KEY" in steps_of(done)[1]["configuration"]["detail"]
    env = {"LANDBRIDGE_URL": "wss://hub.example.org", "LANDBRIDGE_CA": str(tmp_path / "ca.pem")}
    with connect_proxy(answer=b"HTTP/1.1 200 OK\r\n\r\n") as proxy:
        done = network.run("doctor", "--json", HTTPS_PROXY=proxy.url, **env)
    assert "ca.pem" in steps_of(done)[1]["tls"]["detail"]


def _greet(listener, greeting):
    connection, _ = listener.accept()
    with connection:
        try:
            connection.sendall(greeting)
        except OSError:  # the doctor has read enough
            pass
