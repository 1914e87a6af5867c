"""What ``landbridge approve`` does on computers that have other terminals."""

from __future__ import annotations

import io
import sys

from landbridge.cli import approve


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_an_answer_is_read_where_there_is_no_termios(monkeypatch):
    monkeypatch.setitem(sys.modules, "termios", None)  # as on Windows
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert approve._answer("Let it go? ") == "y\n"
