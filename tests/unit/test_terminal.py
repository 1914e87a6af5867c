"""Bars never stand in the way of the work they tell of, whatever stderr is."""

from __future__ import annotations

import io
import sys

import pytest

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


def test_a_terminal_that_goes_away_ends_the_bar_only(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("years") as bar:
        bar.update(2, 2)
        terminal.close()
        bar.update(2, 2)
        bar.update(2, 2)
