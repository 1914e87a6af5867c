"""What a person at a terminal sees: bars for remote and local work, and completion of what is there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap

import pytest

import landbridge as lb

COUNTING = """
import time
import landbridge as lb

__all__ = ["count"]


def count(n: int) -> int:
    for _ in lb.track(range(n), label="counting"):
        time.sleep(0.02)
    return n
"""


@pytest.fixture(scope="module")
def counting(network):
    return network.serve(COUNTING, "awi/counting")


def seen_at_a_terminal(script: str, env: dict[str, str]) -> str:
    """Return what a script writes to stderr when that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], env=env, stderr=theirs, stdout=subprocess.PIPE, text=True
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side has gone
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    process.communicate(timeout=60)
    assert process.returncode == 0, seen.decode()
    return seen.decode()


def test_progress_of_a_remote_call_is_a_bar_in_the_callers_terminal(network, counting):
    seen = seen_at_a_terminal("import landbridge as lb; lb.connect().awi.counting.count(40)", network.env)
    assert "counting" in seen
    assert "█" in seen
    assert "/40" in seen
    assert seen.endswith("\r")  # the line has been cleared


def test_progress_at_home_is_the_same_bar(network):
    seen = seen_at_a_terminal(COUNTING + "\ncount(20)\n", network.env)
    assert "counting" in seen
    assert "20/20" in seen


def test_where_nobody_looks_nothing_is_drawn(network, counting):
    run = network.python("import landbridge as lb; print(lb.connect().awi.counting.count(10))")
    assert (run.stdout, run.stderr) == ("10\n", "")


def test_proxies_have_real_attributes_only_so_that_completion_works(net, counting):
    module = net.awi.counting
    assert module.count(0) == 0  # touched
    for proxy in (net, net.awi, module, module.count):
        # IPython completes nothing on classes that look attributes up themselves.
        assert not hasattr(type(proxy), "__getattr__")
    assert "awi" in vars(net)
    assert "counting" in vars(net.awi)
    assert list(vars(module)) == ["count"]
    assert {"start", "map", "options"} <= set(dir(module.count))


def test_untouched_modules_fill_themselves_when_they_are_completed(counting):
    with lb.connect() as net:
        assert dir(net.awi.counting) == ["count"]
        assert "awi/counting" in net._ipython_key_completions_()
        assert "awi/counting" in repr(net)
