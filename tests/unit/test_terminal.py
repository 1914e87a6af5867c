"""Bars never stand in the way of the work they tell of, whatever stderr is."""

from __future__ import annotations

import io
import sys

import pytest

from landbridge.client.call import Call
from landbridge.client.watching import shown
from landbridge.contract import MethodSpec
from landbridge.protocol import Progress
from landbridge.terminal import Bar


class Writes:
    """What some programs put in the place of stderr: it can be written to, and that is all."""

    def write(self, text: str) -> None:
        raise AssertionError("nobody looks")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def closed() -> io.StringIO:
    stream = Terminal()
    stream.close()
    return stream


class Broken(Terminal):
    def isatty(self) -> bool:
        raise RuntimeError("not now")


@pytest.mark.parametrize("stderr", [None, Writes(), closed(), io.StringIO(), Broken(), object()])
def test_without_a_terminal_there_is_no_bar_and_no_error(monkeypatch, stderr):
    monkeypatch.setattr(sys, "stderr", stderr)
    with Bar("years") as bar:
        bar.update(1, 2)
        bar.update(2, 2)


def test_a_bar_is_drawn_and_cleared(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("years") as bar:
        bar.update(2, 2)
    assert "years 100%" in terminal.getvalue()
    assert terminal.getvalue().endswith(" \r")


def test_words_stand_where_the_bar_would_be(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("count") as bar:
        bar.say("in queue,\x1b[31m place 3")
        assert "\rcount: in queue,\ufffd[31m place 3  0 s" in terminal.getvalue()
    assert terminal.getvalue().endswith(" \r")


def test_a_call_says_in_a_terminal_what_it_waits_for(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("landbridge.terminal._REDRAW_S", 0)
    call = Call("awi/sea.count", MethodSpec("count"), {}, None)
    with shown(call) as view:
        view.look()
        assert terminal.getvalue() == ""
        call.queue_place = 3
        view.look()
        assert terminal.getvalue().endswith("\rcount: in queue, place 3  0 s")
        call.notice = "busy; trying again in 2 s"
        view.look()
        assert "\rcount: busy; trying again in 2 s  0 s" in terminal.getvalue()
        call.notice, call.queue_place = "", 0
        call.progressed(Progress(2, 4, "years"))
        view.look()
        assert "years  50%" in terminal.getvalue()
        view.pause()
        assert terminal.getvalue().endswith(" \r")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with shown(call) as view:
        view.look()
    assert sys.stderr.getvalue() == ""
    assert view.refresh_s is None


def test_a_terminal_that_goes_away_ends_the_bar_only(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("years") as bar:
        bar.update(2, 2)
        terminal.close()
        bar.update(2, 2)
        bar.update(2, 2)
