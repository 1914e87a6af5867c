"""``landbridge serve``: what is served, what is refused, and whose traceback is shown."""

from __future__ import annotations

import signal

import pytest

from landbridge.cli.backend import _is_for_good
from landbridge.errors import BrokerUnreachable, LandbridgeError, NotConfigured, NothingToServe, PermissionDenied

from .conftest import error_code


def test_the_line_of_json_says_what_is_served_and_for_whom(network):
    source = """
        import math
        import landbridge as lb
        __all__ = ["f", "PI"]
        PI = math.pi
        def f(): ...
        @lb.method(share=["gfz/*"])
        def g(): ...
    """
    process = network.serve(source, "awi/shared", "--share", "hereon/*", "--share", "geomar/anna")
    assert process.ready["module"] == "awi/shared"
    assert process.ready["methods"] == {
        "f": {"share": ["hereon/*", "geomar/anna"]},
        "g": {"share": ["hereon/*", "geomar/anna", "gfz/*"]},
    }
    assert "PI is not exposed" in process.ready["notices"][0]
    assert network.run("call", "awi/shared.f", "--profile", "geomar/anna").returncode == 0
    assert network.run("call", "awi/shared.f", "--profile", "geomar/ben").returncode == 4
    assert process.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(network, number):
    process = network.serve("__all__ = ['f']\ndef f(): ...", "awi/brief")
    process.signal(number)
    assert process.stop() == 0  # which sends SIGTERM once more
    assert "awi/brief is no longer served." in process.stderr


def test_what_served_code_prints_does_not_mix_with_our_lines(network):
    source = "import os\nprint('loading')\nos.system('echo from a child')\n__all__ = ['f']\ndef f(): print('called')"
    process = network.serve(source, "awi/loud")
    assert process.ready["event"] == "serving"
    network.run("call", "awi/loud.f")
    process.stop()
    assert all(text in process.stderr for text in ("loading", "from a child", "called"))


def test_a_traceback_stays_at_the_backend_under_its_incident(network):
    process = network.serve("__all__ = ['f']\ndef f(): raise ValueError('secret \\x1b[2J')", "awi/failing")
    done = network.run("call", "awi/failing.f")
    incident = done.stderr.rpartition("incident ")[2].strip(" )\n")
    process.stop()
    assert f"incident {incident}" in process.stderr
    assert "raise ValueError" in process.stderr
    assert "\x1b" not in process.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def f(): ...", '__all__ = ["f"]'),
        ("1/0", "ZeroDivisionError"),
        ("x =", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("__all__ = ['g']", "is not defined there"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused_with_the_reason(network, tmp_path, source, told):
    (tmp_path / "file.py").write_text(source)
    done = network.run("serve", str(tmp_path / "file.py"), "--as", "awi/file", "--json")
    assert (done.returncode, error_code(done.stdout)) == (2, "nothing_to_serve")
    assert told in done.stderr


def test_an_error_in_the_file_shows_its_own_traceback_only(network, tmp_path):
    (tmp_path / "file.py").write_text("def inner():\n    1/0\ninner()\n")
    said = network.run("serve", str(tmp_path / "file.py"), "--as", "awi/file").stderr
    assert said.count('File "') == 2
    assert said.count(str(tmp_path / "file.py")) >= 2
    assert "landbridge/backend" not in said


@pytest.mark.parametrize(
    ("error", "has_served", "for_good"),
    [
        (PermissionDenied("may not serve"), False, True),
        (BrokerUnreachable("it refuses the credentials (authorization violation)"), False, True),
        (BrokerUnreachable("nothing listens there"), False, False),
        (BrokerUnreachable("no longer served: they expired"), True, True),
        (NotConfigured("no network"), False, False),
        (NothingToServe("no file"), False, False),
    ],
)
def test_only_what_a_new_start_cannot_mend_is_for_good(error: LandbridgeError, has_served, for_good):
    assert _is_for_good(error, has_served) is for_good


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_of_workers_that_makes_no_sense_is_a_usage_error(network, number):
    done = network.run("serve", "file.py", "--as", "awi/file", "--workers", number, "--json")
    assert (done.returncode, error_code(done.stdout)) == (2, "usage")
    assert "workers" in done.stderr


def test_options_reach_what_is_served(network):
    process = network.serve(
        "import sys\n__all__ = ['words']\ndef words(): return sys.argv[1:]", "awi/words", "--workers", "2"
    )
    words = network.run("call", "awi/words.words", "--json").stdout
    assert '"--workers", "2"' in words
    assert process.stop() == 0


@pytest.mark.parametrize("name", ["awi", "Awi/file", "awi/file.f", "lb/file", "awi/class"])
def test_a_name_that_may_not_be_one_is_refused(network, tmp_path, name):
    (tmp_path / "file.py").write_text("__all__ = ['f']\ndef f(): ...")
    done = network.run("serve", str(tmp_path / "file.py"), "--as", name, "--json")
    assert (done.returncode, error_code(done.stdout)) == (2, "invalid_name")


def test_without_a_network_it_says_how_to_start_one(network, empty_env, tmp_path):
    (tmp_path / "file.py").write_text("__all__ = ['f']\ndef f(): ...")
    done = network.run("serve", str(tmp_path / "file.py"), "--as", "awi/file", "--json", **empty_env)
    assert (done.returncode, error_code(done.stdout)) == (5, "not_configured")
    assert "landbridge up" in done.stderr
