"""The line between a backend and its supervisor, where the kernel does nothing for them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from landbridge.hub import child as child_module
from landbridge.hub.child import start_child

BACKEND = """
import os, sys, threading
from landbridge.hub.supervised import Line
line = Line(int(sys.argv[1]), os.getppid())
told = threading.Semaphore(0)
line.serving("/ocean.py", told.release)
told.acquire()
if told.acquire(timeout=0.2):
    os._exit(9)
line.failed(for_good=True)
threading.Event().wait()
"""


@contextmanager
def backend():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", BACKEND, str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
            theirs.close()
            ours.settimeout(20)
            try:
                yield ours, ours.makefile("rb"), process
            finally:
                process.kill()


def test_it_tells_what_becomes_of_it_and_is_told_to_stop_once():
    with backend() as (line, heard, process):
        assert json.loads(heard.readline()) == {"serving": "/ocean.py"}
        line.sendall(b"stop\n")
        line.sendall(b"stop\n")
        assert json.loads(heard.readline()) == {"failed_for_good": True}
        assert process.poll() is None


def test_it_ends_when_the_line_closes():
    with backend() as (line, heard, process):
        heard.readline()
        heard.close()
        line.close()
        assert process.wait(20) == 1


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A program for `start_child`; gives a function that starts it with some source."""
    monkeypatch.syspath_prepend(str(tmp_path))
    children = []

    def start(source: str, **order):
        (tmp_path / "program_of_a_test.py").write_text(
            f"import os, sys\ndef main(descriptor, **order):\n    {source}\n"
        )
        children.append(start_child("program_of_a_test", order, ["serve", "ocean.py"]))
        return children[-1]

    yield start
    for each in children:
        each.kill()


def told_by(child) -> None:
    """Let a child end, and hear all it has told."""
    child.process.wait(20)
    assert child.end(5.0) is not None


def test_a_child_gets_its_order_and_the_words_that_people_see(program):
    told = "import json; os.write(descriptor, json.dumps({'serving': repr([order, sys.argv])}).encode() + b'\\n')"
    child = program(told, share=["awi/*"], profile=None)
    told_by(child)
    order, words = eval(str(child.file))
    assert order == {"share": ["awi/*"], "profile": None, "supervisor": os.getpid()}
    assert words == ["landbridge", "serve", "ocean.py"]


@pytest.mark.parametrize(
    "text", ["b'no json\\n'", "b'[1]\\n{}\\n'", "b'{\"serving\"'", "b'\\xff\\n'", "b'[' * 60000 + b'\\n'"]
)
def test_what_makes_no_sense_on_the_line_is_passed_over(program, text):
    child = program(f"os.write(descriptor, {text})")
    told_by(child)
    assert child.serving_since is None


def test_what_never_ends_a_line_is_not_kept(program, monkeypatch):
    monkeypatch.setattr(child_module, "_MAX_HEARD_BYTES", 1000)
    child = program("os.write(descriptor, b'x' * 5000)")
    told_by(child)
    assert not child.line_open
